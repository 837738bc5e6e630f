//! Addresses and node ports of Services.
//!
//! What an update leaves out, its strategy has kept from the old object before. What is taken is read from the Services themselves, under a lock that is held until the write is done: there is no
//! second record that could disagree with them.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;
use copepod_api::field::{Errors, Path};
use copepod_api::status::ApiError;
use copepod_api::strategy::{Object, Part};
use copepod_store::Range;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use tokio::sync::Mutex;

use super::{Admission, Operation, Request, typed, typed_mut};
use crate::ServerConfig;
use crate::storage;

const SERVICES: &str = "/registry/core/services/";
const HEADLESS: &str = "None";

/// Gives Services what they need, and refuses what is taken.
pub(super) struct Allocation {
    cidr: IpNet,
    ports: RangeInclusive<u16>,
    one_at_a_time: Arc<Mutex<()>>,
}

/// What other Services have.
#[derive(Default)]
struct Taken {
    addresses: HashSet<IpAddr>,
    ports: HashSet<i32>,
}

impl Taken {
    fn add(&mut self, spec: &ServiceSpec) {
        let addresses = spec.cluster_ips.iter().flatten().chain(spec.cluster_ip.iter());
        self.addresses.extend(addresses.filter_map(|ip| ip.parse::<IpAddr>().ok()));
        self.ports.extend(spec.ports.iter().flatten().filter_map(|port| port.node_port).filter(|p| *p != 0));
        self.ports.extend(spec.health_check_node_port.filter(|port| *port != 0));
    }
}

impl Allocation {
    pub(super) fn new(config: &ServerConfig) -> Self {
        Self { cidr: config.service_cidr, ports: config.node_ports.clone(), one_at_a_time: Arc::default() }
    }

    async fn taken(&self, request: &Request<'_>) -> Result<Taken, ApiError> {
        let own = request.kind.key(request.namespace, request.name);
        let range = Range { prefix: SERVICES.to_owned(), ..Range::default() };
        let services = request.state().store.range(range).await.map_err(|e| storage::failure(&e))?;
        let mut taken = Taken::default();
        for record in services.records.iter().filter(|record| *record.key != *own) {
            let service: Service = serde_json::from_slice(&record.value).map_err(ApiError::internal)?;
            if let Some(spec) = &service.spec {
                taken.add(spec);
            }
        }
        Ok(taken)
    }

    /// The address at an offset of the range.
    fn address(&self, offset: u64) -> IpAddr {
        match self.cidr.network() {
            IpAddr::V4(base) => {
                let offset = u32::try_from(offset).unwrap_or(u32::MAX);
                Ipv4Addr::from(u32::from(base).saturating_add(offset)).into()
            }
            IpAddr::V6(base) => Ipv6Addr::from(u128::from(base).saturating_add(u128::from(offset))).into(),
        }
    }

    /// The last offset that is an address of its own: the last of IPv4 is the broadcast address.
    fn last(&self) -> u64 {
        let bits = u32::from(self.cidr.max_prefix_len() - self.cidr.prefix_len()).min(62);
        let size = 1_u64 << bits;
        if self.cidr.network().is_ipv4() { size.saturating_sub(2) } else { size - 1 }
    }

    fn free_address(&self, taken: &Taken) -> Option<IpAddr> {
        let last = self.last();
        // The lower part is left to those who choose their addresses themselves (KEP-3070).
        let band = ((last + 2) / 16).clamp(16, 256).min(last);
        let start = if band < last { band + random() % (last - band) } else { 1 };
        let upper = (start..=last).chain(band..start);
        upper.chain(1..band).map(|offset| self.address(offset)).find(|ip| !taken.addresses.contains(ip))
    }

    fn free_port(&self, taken: &Taken) -> Option<i32> {
        let (first, last) = (*self.ports.start(), *self.ports.end());
        let count = u64::from(last - first) + 1;
        let start = first + u16::try_from(random() % count).unwrap_or_default();
        (start..=last).chain(first..start).map(i32::from).find(|port| !taken.ports.contains(port))
    }

    fn check_address(&self, text: &str, taken: &Taken, errors: &mut Errors) {
        let path = Path::new("spec.clusterIPs");
        let refuse = |why: String, errors: &mut Errors| {
            errors.invalid(&path, vec![text.to_owned()], &format!("failed to allocate IP {text}: {why}"));
        };
        // What is no address at all is for validation to refuse.
        let Ok(address) = text.parse::<IpAddr>() else { return };
        if !self.cidr.contains(&address) {
            let why = format!(
                "the provided IP ({text}) is not in the valid range. The range of valid IPs is {}",
                self.cidr
            );
            refuse(why, errors);
        } else if taken.addresses.contains(&address) {
            refuse("provided IP is already allocated".to_owned(), errors);
        }
    }

    fn check_port(&self, port: i32, path: &Path, taken: &Taken, errors: &mut Errors) {
        if u16::try_from(port).is_ok_and(|port| self.ports.contains(&port)) {
            if taken.ports.contains(&port) {
                errors.invalid(path, port, "provided port is already allocated");
            }
        } else {
            let why = format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                self.ports.start(),
                self.ports.end()
            );
            errors.invalid(path, port, &why);
        }
    }

    fn allocate(
        &self,
        spec: &mut ServiceSpec,
        old: Option<&ServiceSpec>,
        taken: &mut Taken,
        errors: &mut Errors,
    ) {
        if needs_address(spec) {
            match spec.cluster_ip.clone().filter(|ip| !ip.is_empty()) {
                Some(ip) if old.and_then(|o| o.cluster_ip.as_ref()) == Some(&ip) => {}
                Some(ip) => self.check_address(&ip, taken, errors),
                None => match self.free_address(taken) {
                    Some(address) => spec.cluster_ip = Some(address.to_string()),
                    None => errors.invalid(
                        &Path::new("spec.clusterIPs"),
                        serde_json::Value::Null,
                        "failed to allocate a serviceIP: range is full",
                    ),
                },
            }
            spec.cluster_ips = spec.cluster_ip.clone().map(|ip| vec![ip]);
        }
        self.allocate_ports(spec, old, taken, errors);
        if needs_health_port(spec) {
            let path = Path::new("spec.healthCheckNodePort");
            match spec.health_check_node_port.filter(|port| *port != 0) {
                Some(port) if old.and_then(|o| o.health_check_node_port) == Some(port) => {}
                Some(port) => self.check_port(port, &path, taken, errors),
                None => spec.health_check_node_port = self.free_port(taken),
            }
        }
    }

    fn allocate_ports(
        &self,
        spec: &mut ServiceSpec,
        old: Option<&ServiceSpec>,
        taken: &mut Taken,
        errors: &mut Errors,
    ) {
        if !needs_ports(spec) {
            return;
        }
        let had = |port: i32| {
            old.iter().flat_map(|o| o.ports.iter().flatten()).any(|other| other.node_port == Some(port))
        };
        // TCP and UDP of one Service may share a number.
        let mut own: Vec<(String, i32)> = Vec::new();
        let ports = spec.ports.iter_mut().flatten().enumerate().collect::<Vec<_>>();
        let (given, missing): (Vec<_>, Vec<_>) =
            ports.into_iter().partition(|(_, port)| port.node_port.is_some_and(|number| number != 0));
        for (index, port) in given {
            let number = port.node_port.unwrap_or_default();
            let protocol = port.protocol.clone().unwrap_or_default();
            let shared = own.iter().any(|(p, n)| *n == number && *p != protocol);
            if !had(number) && !shared {
                let path = Path::new("spec.ports").index(index).child("nodePort");
                self.check_port(number, &path, taken, errors);
            }
            own.push((protocol, number));
            taken.ports.insert(number);
        }
        for (index, port) in missing {
            match self.free_port(taken) {
                Some(number) => {
                    taken.ports.insert(number);
                    port.node_port = Some(number);
                }
                None => errors.invalid(
                    &Path::new("spec.ports").index(index).child("nodePort"),
                    0,
                    "failed to allocate a nodePort: range is full",
                ),
            }
        }
    }
}

fn random() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1 >> 2
}

fn service_type(spec: &ServiceSpec) -> &str {
    spec.type_.as_deref().unwrap_or("ClusterIP")
}

fn needs_address(spec: &ServiceSpec) -> bool {
    service_type(spec) != "ExternalName" && spec.cluster_ip.as_deref() != Some(HEADLESS)
}

fn needs_ports(spec: &ServiceSpec) -> bool {
    match service_type(spec) {
        "NodePort" => true,
        "LoadBalancer" => spec.allocate_load_balancer_node_ports != Some(false),
        _ => false,
    }
}

fn needs_health_port(spec: &ServiceSpec) -> bool {
    service_type(spec) == "LoadBalancer" && spec.external_traffic_policy.as_deref() == Some("Local")
}

/// Whether anything must be found or checked that `old` does not have already.
fn asks(spec: &ServiceSpec, old: Option<&ServiceSpec>) -> bool {
    let Some(old) = old else { return needs_address(spec) || needs_ports(spec) };
    let address = needs_address(spec) && spec.cluster_ip != old.cluster_ip;
    let numbers = |spec: &ServiceSpec| -> Vec<Option<i32>> {
        spec.ports.iter().flatten().map(|port| port.node_port).collect()
    };
    let ports = needs_ports(spec)
        && (numbers(spec) != numbers(old) || numbers(spec).iter().any(|n| n.unwrap_or(0) == 0));
    address
        || ports
        || (needs_health_port(spec) && spec.health_check_node_port.unwrap_or(0) == 0)
        || (needs_address(spec) && spec.cluster_ip.as_deref().unwrap_or_default().is_empty())
}

#[async_trait]
impl Admission for Allocation {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.is("", "Service")
            && request.part == Part::Main
            && request.subresource.is_empty()
            && matches!(request.operation, Operation::Create { .. } | Operation::Update { .. })
    }

    async fn complete(&self, request: &Request<'_>, object: &mut dyn Object) -> Result<(), ApiError> {
        let old = request.old.and_then(typed::<Service>).and_then(|service| service.spec.as_ref());
        let Some(spec) = typed_mut::<Service>(object).and_then(|service| service.spec.as_mut()) else {
            return Ok(());
        };
        if spec.cluster_ip.is_none() {
            spec.cluster_ip = spec.cluster_ips.as_ref().and_then(|ips| ips.first().cloned());
        }
        if asks(spec, old) {
            request.hold(self.one_at_a_time.clone().lock_owned().await);
            let mut taken = self.taken(request).await?;
            let mut errors = Errors::new();
            self.allocate(spec, old, &mut taken, &mut errors);
            if !errors.is_empty() {
                return Err(ApiError::invalid(request.kind, request.name, &errors));
            }
        }
        if spec.cluster_ip.as_deref() == Some(HEADLESS) {
            spec.cluster_ips = Some(vec![HEADLESS.to_owned()]);
        }
        if service_type(spec) != "ExternalName" && spec.ip_families.as_ref().is_none_or(Vec::is_empty) {
            let family = if self.cidr.network().is_ipv4() { "IPv4" } else { "IPv6" };
            spec.ip_families = Some(vec![family.to_owned()]);
            spec.ip_family_policy.get_or_insert_with(|| "SingleStack".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocation(cidr: &str) -> Allocation {
        Allocation { cidr: cidr.parse().unwrap(), ports: 30000..=30003, one_at_a_time: Arc::default() }
    }

    #[test]
    fn every_address_is_given_out_once_and_then_none() {
        let allocation = allocation("10.0.0.0/28");
        let mut taken = Taken::default();
        while let Some(address) = allocation.free_address(&taken) {
            assert!(taken.addresses.insert(address), "{address} twice");
        }
        // Neither the network's nor the broadcast address.
        assert_eq!(taken.addresses.len(), 14);
        assert!(!taken.addresses.contains(&"10.0.0.15".parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn every_port_is_given_out_once_and_then_none() {
        let allocation = allocation("10.0.0.0/28");
        let mut taken = Taken::default();
        while let Some(port) = allocation.free_port(&taken) {
            assert!(taken.ports.insert(port), "{port} twice");
        }
        assert_eq!(taken.ports.len(), 4);
    }
}
