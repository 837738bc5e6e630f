//! Who a request comes from.

use std::collections::BTreeMap;

/// All identities that passed authentication are in this group.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group that may do everything.
pub const MASTERS: &str = "system:masters";
/// Group of the node agents.
pub const NODES: &str = "system:nodes";
/// User names of node agents are this and the node's name.
pub(crate) const NODE_USER_PREFIX: &str = "system:node:";
/// User names of service accounts are this, the namespace, a colon and the name.
pub(crate) const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// An authenticated user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// User name.
    pub user: String,
    /// Unique identifier, empty where there is none (certificates).
    pub uid: String,
    /// Groups, [`AUTHENTICATED`] included.
    pub groups: Vec<String>,
    /// More about the user, for `kubectl auth whoami` and authorizers.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// A user in these groups, and in [`AUTHENTICATED`].
    #[must_use]
    pub fn new<'a>(user: impl Into<String>, groups: impl IntoIterator<Item = &'a str>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().map(str::to_owned).collect();
        if !groups.iter().any(|g| g == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self { user: user.into(), groups, ..Self::default() }
    }

    /// The administrator: `system:admin` in [`MASTERS`].
    #[must_use]
    pub fn admin() -> Self {
        Self::new("system:admin", [MASTERS])
    }

    /// A node's agent.
    #[must_use]
    pub fn node(name: &str) -> Self {
        Self::new(format!("{NODE_USER_PREFIX}{name}"), [NODES])
    }

    /// The server itself, for what it keeps up by its own API.
    #[must_use]
    pub fn apiserver() -> Self {
        Self::new("system:apiserver", [MASTERS])
    }

    /// A request without credentials.
    pub(crate) fn anonymous() -> Self {
        Self {
            user: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            ..Self::default()
        }
    }

    /// Whether the user is in a group.
    #[must_use]
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The node's name, when this is a node's agent.
    #[must_use]
    pub fn node_name(&self) -> Option<&str> {
        self.user.strip_prefix(NODE_USER_PREFIX).filter(|_| self.in_group(NODES))
    }
}
