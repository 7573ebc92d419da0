use alloc::string::String;
use alloc::vec::Vec;

use crate::HostView;

/// Which hosts a policy is about. A host belongs if its service or its name matches.
///
/// Patterns may hold `*` for any run of characters: `nova-*`. An empty selector matches no host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Patterns for services.
    pub services: Vec<String>,
    /// Patterns for host names.
    pub hosts: Vec<String>,
}

impl Selector {
    /// Whether `host` belongs.
    pub fn matches(&self, host: &HostView) -> bool {
        self.services.iter().any(|pattern| glob(pattern, &host.service))
            || self.hosts.iter().any(|pattern| glob(pattern, &host.name))
    }
}

/// Whether `text` matches `pattern`, where `*` stands for any run of characters. Linear in practice:
/// only the last `*` is ever retried.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p, t));
            p += 1;
        } else if pattern.get(p) == text.get(t) {
            p += 1;
            t += 1;
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            p = star + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::glob;

    /// Patterns match as a shell user expects, the empty one only the empty text.
    #[test]
    fn patterns_match() {
        for (pattern, text, expected) in [
            ("keystone", "keystone", true),
            ("keystone", "keystone-2", false),
            ("nova-*", "nova-api", true),
            ("nova-*", "neutron", false),
            ("*", "", true),
            ("*-api", "nova-api", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern:?} {text:?}");
        }
    }
}
