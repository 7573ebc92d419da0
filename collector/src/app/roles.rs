/// What one process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Takes reports from agents.
    Ingest,
    /// Judges the fleet and opens alerts.
    Evaluate,
    /// Delivers alerts.
    Notify,
    /// Serves the pages.
    Web,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Evaluate, Self::Notify, Self::Web];

    /// Its name in options and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Evaluate => "evaluate",
            Self::Notify => "notify",
            Self::Web => "web",
        }
    }
}

/// A set of roles.
#[derive(Clone, Debug)]
pub struct Roles(Vec<Role>);

impl Roles {
    /// Every role.
    pub fn all() -> Self {
        Self(Role::ALL.to_vec())
    }

    /// These roles.
    pub fn only(roles: &[Role]) -> Self {
        Self(roles.to_vec())
    }

    /// Whether the role is in the set.
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }
}
