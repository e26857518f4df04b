//! Checks the host that a request names, against DNS rebinding: a web page of another site may give
//! its own name the address of this server, and the browser then lets the page read the answers.
//! Such a request names the other site in its header `Host`.
//!
//! IP addresses and `localhost` are always allowed, because no site can own them.

use std::{fmt, fs, net::IpAddr, net::SocketAddr, str::FromStr};

use hyper::{Request, StatusCode, header::HOST, http::uri::Authority};

use crate::text::escaped;

/// The longest part of a refused name that an answer repeats.
const SHOWN: usize = 100;

/// A host that clients may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHost {
    /// Any host.
    Any,
    /// The host with this name.
    Name(String),
    /// Every host whose name ends with this text, which begins with a dot.
    Below(String),
}

impl FromStr for AllowedHost {
    type Err = &'static str;

    /// Parses `*`, `NAME` or `*.DOMAIN`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_prefix("*.").unwrap_or(&lower);
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let is_name =
            !name.is_empty() && name.bytes().all(is_part) && !name.split('.').any(str::is_empty);
        match text {
            "*" => Ok(Self::Any),
            _ if !is_name => Err(
                "expected a host name without a port, such as metrics.example.com; or *.example.com; or * for every name",
            ),
            _ if lower.starts_with("*.") => Ok(Self::Below(format!(".{name}"))),
            _ => Ok(Self::Name(lower)),
        }
    }
}

impl AllowedHost {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Name(name) => host == name,
            Self::Below(end) => host.len() > end.len() && host.ends_with(end),
        }
    }
}

/// The hosts that clients may name.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Vec<AllowedHost>);

impl Hosts {
    /// Allows the given hosts, and the names that this system gives to the listening address.
    #[must_use]
    pub fn new(allowed: Vec<AllowedHost>, address: SocketAddr) -> Self {
        let mut all = allowed;
        let hosts = fs::read("/etc/hosts").unwrap_or_default();
        all.extend(names_in(&String::from_utf8_lossy(&hosts), address.ip()));
        if !address.ip().is_loopback()
            && let Ok(system) = nix::sys::utsname::uname()
        {
            all.extend(system.nodename().to_str().and_then(|name| name.parse().ok()));
        }
        Self(all)
    }

    /// Refuses a request that names a host that is not allowed.
    ///
    /// A browser always names the host. A request of HTTP/1.0 may name no host.
    pub(super) fn check<T>(&self, request: &Request<T>) -> Result<(), Refusal> {
        let mut lines = request.headers().get_all(HOST).iter();
        let line = lines.next();
        if lines.next().is_some() {
            return Err(Refusal::Ambiguous);
        }
        let line = match line {
            Some(line) => Some(line.to_str().map_err(|_| Refusal::Ambiguous)?),
            None => None,
        };
        let authority = request.uri().authority().map(Authority::as_str);
        for host in line.into_iter().chain(authority) {
            if !self.allows(host) {
                return Err(Refusal::Other(host.chars().take(SHOWN).collect()));
            }
        }
        Ok(())
    }

    /// Returns whether clients may name a host. The parameter may contain a port.
    fn allows(&self, host: &str) -> bool {
        if let Some(rest) = host.strip_prefix('[') {
            return rest.split_once(']').is_some_and(|(ip, port)| {
                matches!(ip.parse(), Ok(IpAddr::V6(_))) && (port.is_empty() || is_port(port))
            });
        }
        let name = match host.split_once(':') {
            Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
            Some(_) => return false,
            None => host,
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        matches!(name.parse(), Ok(IpAddr::V4(_)))
            || name == "localhost"
            || self.0.iter().any(|allowed| allowed.matches(&name))
    }
}

/// Returns whether the text is a colon and a port.
fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Returns the names of an address in the text of `/etc/hosts`.
fn names_in(text: &str, ip: IpAddr) -> Vec<AllowedHost> {
    let mut all = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let is_ours = words.next().and_then(|word| word.parse::<IpAddr>().ok()) == Some(ip);
        if is_ours {
            all.extend(words.filter_map(|name| name.parse().ok()));
        }
    }
    all.retain(|host| matches!(host, AllowedHost::Name(_)));
    all
}

/// The reason why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request names several hosts, or a host that is not text.
    Ambiguous,
    /// The request names this host, which is not allowed.
    Other(String),
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Ambiguous => StatusCode::BAD_REQUEST,
            Self::Other(_) => StatusCode::MISDIRECTED_REQUEST,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambiguous => f.write_str("cannot answer: the header Host is not one name\n"),
            Self::Other(host) => write!(
                f,
                "cannot answer for the host {}: it is not an allowed name\n\
                 help: ask by IP address, or run tcpstate serve with --allow-host NAME\n",
                escaped(host)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version_line: &str, hosts: &[&str]) -> Request<()> {
        let mut request = Request::builder().uri(version_line);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).expect("it is a request")
    }

    #[test]
    fn only_addresses_localhost_and_allowed_names_are_answered() {
        let allowed = ["node5", "Metrics.example.com", "*.mesh.local"];
        let hosts = Hosts(allowed.map(|name| name.parse().expect(name)).to_vec());
        for host in [
            "127.0.0.1",
            "127.0.0.1:9919",
            "10.1.2.3:80",
            "[::1]",
            "[2001:db8::1]:9919",
            "localhost",
            "LOCALHOST:9919",
            "localhost.",
            "node5:9919",
            "metrics.example.com",
            "a.mesh.local:1",
            "a.b.mesh.local",
        ] {
            assert_eq!(hosts.check(&request("/metrics", &[host])), Ok(()), "{host}");
        }
        for host in [
            "",
            ":9919",
            "evil.example",
            "evil.example:9919",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "1.2.3",
            "0x7f.1",
            "node5.evil.example",
            "evilmesh.local",
            ".mesh.local",
            "mesh.local",
            "[::1",
            "[::1]x",
            "[evil.example]",
            "::1",
            "user@localhost",
            "localhost:80:80",
            "localhost:x",
            "localhost..",
        ] {
            let refused = hosts.check(&request("/metrics", &[host]));
            assert!(matches!(refused, Err(Refusal::Other(_))), "{host}: {refused:?}");
        }
    }

    #[test]
    fn the_address_of_the_request_is_checked_too() {
        let hosts = Hosts::default();
        assert_eq!(hosts.check(&request("/metrics", &[])), Ok(()), "HTTP/1.0");
        let refused = hosts.check(&request("http://evil.example/metrics", &["127.0.0.1"]));
        assert_eq!(refused, Err(Refusal::Other("evil.example".into())));
        let two = hosts.check(&request("/metrics", &["127.0.0.1", "evil.example"]));
        assert_eq!(two, Err(Refusal::Ambiguous));
        assert_eq!(Hosts(vec![AllowedHost::Any]).check(&request("/", &["evil.example"])), Ok(()));
    }

    #[test]
    fn names_of_the_listening_address_are_allowed() {
        let text = "127.0.0.1 localhost\n10.0.0.5\tnode5.example.com node5 # this host\n#10.0.0.5 x\n\
             10.0.0.5 *\n::1 six\n";
        let names = |ip: &str| names_in(text, ip.parse().expect(ip));
        let name = |name: &str| AllowedHost::Name(name.into());
        assert_eq!(names("10.0.0.5"), [name("node5.example.com"), name("node5")]);
        assert_eq!(names("::1"), [name("six")]);
        assert_eq!(names("0.0.0.0"), []);
    }

    #[test]
    fn patterns_are_names_domains_or_everything() {
        for text in ["", "a b", "node5:9919", "*.", "*x", "a.*", "..", "a..b", "http://a"] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text}");
        }
    }
}
