//! The command line. Names follow k3s's, with `COPEPOD_` for `K3S_`, so that nobody has to learn them twice.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Kubernetes in one executable: API server, datastore, controllers, scheduler and node agent.
#[derive(Debug, Parser)]
#[command(name = "copepod", version = crate::version::LONG, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server: API, datastore, controllers, scheduler and, unless --disable-agent, the node agent
    Server(Box<ServerArgs>),
}

/// Flags of `copepod server`. Each is also a key of the configuration file, under the flag's name.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    pub(crate) general: GeneralArgs,
    #[command(flatten)]
    pub(crate) listener: ListenerArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "General")]
pub(crate) struct GeneralArgs {
    /// Configuration file; files in the folder of the same name with `.d` are read after it, in order
    #[arg(
        short,
        long,
        env = "COPEPOD_CONFIG_FILE",
        default_value = "/etc/copepod/config.yaml",
        value_name = "FILE"
    )]
    pub(crate) config: PathBuf,
    /// Folder for everything that must survive a restart
    #[arg(short, long, env = "COPEPOD_DATA_DIR", default_value = "/var/lib/copepod", value_name = "FOLDER")]
    pub(crate) data_dir: PathBuf,
    /// Folder for sockets and other things that need not survive a reboot
    #[arg(long, env = "COPEPOD_RUN_DIR", default_value = "/run/copepod", value_name = "FOLDER")]
    pub(crate) run_dir: PathBuf,
    /// Log more (the filter `debug` instead of `info`)
    #[arg(long, env = "COPEPOD_DEBUG")]
    pub(crate) debug: bool,
    /// Which parts log how much, for example `info,copepod_store=debug`
    #[arg(long, env = "COPEPOD_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// How log lines look: `text` or `json`
    #[arg(long, env = "COPEPOD_LOG_FORMAT", default_value = "text", value_name = "FORMAT", value_parser = ["text", "json"])]
    pub(crate) log_format: String,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Listener")]
pub(crate) struct ListenerArgs {
    /// Address to listen on
    #[arg(long, env = "COPEPOD_BIND_ADDRESS", default_value = "0.0.0.0", value_name = "IP")]
    pub(crate) bind_address: IpAddr,
    /// Port of the Kubernetes API
    #[arg(long, env = "COPEPOD_HTTPS_LISTEN_PORT", default_value_t = 6443, value_name = "PORT")]
    pub(crate) https_listen_port: u16,
    /// Address that pods reach the API at, behind the `kubernetes` Service [default: the node's]
    #[arg(long, env = "COPEPOD_ADVERTISE_ADDRESS", value_name = "IP")]
    pub(crate) advertise_address: Option<IpAddr>,
    /// More host names and addresses for the API's certificate
    #[arg(long, env = "COPEPOD_TLS_SAN", value_name = "NAME", value_delimiter = ',')]
    pub(crate) tls_san: Vec<String>,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// Addresses of pods
    #[arg(long, env = "COPEPOD_CLUSTER_CIDR", default_value = "10.42.0.0/16", value_name = "CIDR")]
    pub(crate) cluster_cidr: String,
    /// Addresses of Services
    #[arg(long, env = "COPEPOD_SERVICE_CIDR", default_value = "10.43.0.0/16", value_name = "CIDR")]
    pub(crate) service_cidr: String,
    /// Ports of NodePort Services
    #[arg(
        long,
        env = "COPEPOD_SERVICE_NODE_PORT_RANGE",
        default_value = "30000-32767",
        value_name = "RANGE"
    )]
    pub(crate) service_node_port_range: String,
    /// Address of the cluster's DNS, in the Services' range [default: the tenth of --service-cidr]
    #[arg(long, env = "COPEPOD_CLUSTER_DNS", value_name = "IP")]
    pub(crate) cluster_dns: Option<IpAddr>,
    /// Domain of the cluster's DNS names
    #[arg(long, env = "COPEPOD_CLUSTER_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    pub(crate) cluster_domain: String,
    /// Shared secret for joining the cluster [default: made at the first start]
    #[arg(short, long, env = "COPEPOD_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// File with the shared secret
    #[arg(long, env = "COPEPOD_TOKEN_FILE", value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// Datastore: `sqlite://` and an absolute path [default: sqlite in the data folder]
    #[arg(long, env = "COPEPOD_DATASTORE_ENDPOINT", value_name = "URL")]
    pub(crate) datastore_endpoint: Option<String>,
    /// Parts that are not to run; the names of k3s are understood as well
    #[arg(long, env = "COPEPOD_DISABLE", value_name = "PART", value_delimiter = ',')]
    pub(crate) disable: Vec<String>,
    /// Run no node agent: this machine takes no pods
    #[arg(long, env = "COPEPOD_DISABLE_AGENT")]
    pub(crate) disable_agent: bool,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Client")]
pub(crate) struct ClientArgs {
    /// Where to write the administrator's kubeconfig
    #[arg(
        short = 'o',
        long,
        env = "COPEPOD_KUBECONFIG_OUTPUT",
        default_value = "/etc/copepod/copepod.yaml",
        value_name = "FILE"
    )]
    pub(crate) write_kubeconfig: PathBuf,
    /// Permissions of that file, octal
    #[arg(long, env = "COPEPOD_KUBECONFIG_MODE", default_value = "0600", value_name = "MODE")]
    pub(crate) write_kubeconfig_mode: String,
}

/// Flags of the node agent.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node")]
pub(crate) struct NodeArgs {
    /// Name of this node [default: the host name]
    #[arg(long, env = "COPEPOD_NODE_NAME", value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// Address of this node [default: that of the interface with the default route]
    #[arg(short = 'i', long, env = "COPEPOD_NODE_IP", value_name = "IP", value_delimiter = ',')]
    pub(crate) node_ip: Vec<IpAddr>,
    /// Label that the node registers with, `key=value`
    #[arg(long, env = "COPEPOD_NODE_LABEL", value_name = "LABEL", value_delimiter = ',')]
    pub(crate) node_label: Vec<String>,
    /// Taint that the node registers with, `key=value:effect`
    #[arg(long, env = "COPEPOD_NODE_TAINT", value_name = "TAINT", value_delimiter = ',')]
    pub(crate) node_taint: Vec<String>,
    /// Use this CRI socket instead of starting containerd, for example `unix:///run/containerd/containerd.sock`
    #[arg(long, env = "COPEPOD_CONTAINER_RUNTIME_ENDPOINT", value_name = "URL")]
    pub(crate) container_runtime_endpoint: Option<String>,
    /// Port of the kubelet API
    #[arg(long, env = "COPEPOD_KUBELET_PORT", default_value_t = 10250, value_name = "PORT")]
    pub(crate) kubelet_port: u16,
    /// Most pods that may run here
    #[arg(long, env = "COPEPOD_MAX_PODS", default_value_t = 110, value_name = "COUNT")]
    pub(crate) max_pods: u32,
    /// Parent of all pods' cgroups, for a host that gives Copepod only a part of the tree
    #[arg(long, env = "COPEPOD_CGROUP_ROOT", default_value = "/", value_name = "PATH")]
    pub(crate) cgroup_root: String,
    /// Resolver configuration for pods that do not use the cluster's DNS [default: the host's]
    #[arg(long, env = "COPEPOD_RESOLV_CONF", value_name = "FILE")]
    pub(crate) resolv_conf: Option<PathBuf>,
}
