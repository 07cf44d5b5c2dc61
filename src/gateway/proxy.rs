//! Which proxy leads to a gateway: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, as everybody reads them.
//!
//! Names in small letters win over those in capitals, and an empty value is none. A gateway on this machine is always
//! called directly. An account speaks to one address and follows no redirect, so that this is decided once. A proxy's
//! address may hold a password: it is never said.

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Proxy;
use url::{Host, Url};

use crate::error::{Error, ErrorClass, Result};
use crate::text::text;

const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// The proxy that leads to a gateway.
pub(super) struct Route {
    pub(super) proxy: Proxy,
    /// Its host and port, without a name or password.
    pub(super) address: String,
    /// The variable that named it.
    pub(super) variable: String,
    /// Whether the proxy itself is spoken to by TLS.
    pub(super) is_https: bool,
}

/// The proxy on the way to `gateway`, if the environment names one.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a proxy whose address cannot be read; it is not repeated.
pub(super) fn route(gateway: &Url, env: impl Fn(&str) -> Option<String>) -> Result<Option<Route>> {
    if is_loopback(gateway) {
        return Ok(None);
    }
    let first = |names: &[&str]| {
        let spelled = names.iter().flat_map(|name| [name.to_lowercase(), (*name).to_owned()]);
        spelled.filter_map(|name| Some((env(&name).filter(|value| !value.trim().is_empty())?, name))).next()
    };
    let of_scheme = if gateway.scheme() == "https" { "HTTPS_PROXY" } else { "HTTP_PROXY" };
    let Some((value, variable)) = first(&[of_scheme, "ALL_PROXY"]) else { return Ok(None) };
    if first(&["NO_PROXY"]).is_some_and(|(list, _)| is_excluded(gateway, &list)) {
        return Ok(None);
    }
    let unreadable = || {
        Error::new(ErrorClass::ProxyWrong, text!("{variable} is no address of a proxy", variable))
            .hint("write http://host:port, with name:password@ before the host if it asks for them (https:// and socks5:// are known too), or give --no-proxy")
    };
    let value = value.trim();
    let address = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    // A password with `#`, `?` or `/` in it ends the host too early: nothing of it may be taken for the proxy's
    // address.
    let is_bare = |url: &Url| matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    let is_known = |url: &Url| SCHEMES.contains(&url.scheme()) && is_bare(url);
    let url = Url::parse(&address).ok().filter(is_known).ok_or_else(unreadable)?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(unreadable)?;
    let port = url.port_or_known_default().unwrap_or(1080);
    let address = format!("{host}:{port}");
    let is_https = url.scheme() == "https";
    let proxy = Proxy::all(url).map_err(|_| unreadable())?;
    Ok(Some(Route { proxy, address, variable, is_https }))
}

/// Whether a gateway runs on this machine.
fn is_loopback(gateway: &Url) -> bool {
    match gateway.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

/// Whether `NO_PROXY` names a gateway: by `*`, its name, a domain above it, its address, or a network; each with or
/// without a port.
fn is_excluded(gateway: &Url, list: &str) -> bool {
    let entries = list.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
    let entries: Vec<&str> = entries.collect();
    // The matcher knows `*` for names only.
    if entries.contains(&"*") {
        return true;
    }
    let plain: Vec<&str> = entries.into_iter().filter_map(|entry| without_port(entry, gateway)).collect();
    let matcher = Matcher::builder().all("http://proxy.invalid").no(plain.join(",")).build();
    gateway.as_str().parse().is_ok_and(|target| matcher.intercept(&target).is_none())
}

/// An entry in the form that the matcher knows; `None` when it is for another port.
fn without_port<'a>(entry: &'a str, gateway: &Url) -> Option<&'a str> {
    let entry = if entry.len() > 1 { entry.strip_prefix('*').unwrap_or(entry) } else { entry };
    let (host, port) = match entry.rsplit_once(':') {
        // A bare IPv6 address has colons of its own.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (entry, None),
    };
    let fits = port.is_none_or(|port| port.parse().ok() == gateway.port_or_known_default());
    fits.then(|| host.trim_start_matches('[').trim_end_matches(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(gateway: &str, env: &[(&str, &str)]) -> Option<String> {
        let gateway = Url::parse(gateway).expect("a URL");
        let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        route(&gateway, env).expect("a proxy or none").map(|route| route.address)
    }

    const ERP: &str = "https://api.wangdian.cn/openapi2";

    #[test]
    fn the_variables_are_read_as_everybody_reads_them() {
        let both = [("HTTP_PROXY", "http://a:1"), ("HTTPS_PROXY", "http://b:2"), ("ALL_PROXY", "socks5://c")];
        assert_eq!(of(ERP, &both).as_deref(), Some("b:2"));
        assert_eq!(of("http://wdt.wangdian.cn/openapi", &both).as_deref(), Some("a:1"));
        assert_eq!(of(ERP, &both[..1]), None, "HTTP_PROXY is for http");
        assert_eq!(of(ERP, &both[2..]).as_deref(), Some("c:1080"));
        assert_eq!(
            of(ERP, &[("https_proxy", "http://small:1"), ("HTTPS_PROXY", "http://b:2")]).as_deref(),
            Some("small:1")
        );
        assert_eq!(of(ERP, &[("https_proxy", ""), ("HTTPS_PROXY", "http://b:2")]).as_deref(), Some("b:2"));
        assert_eq!(of(ERP, &[("HTTPS_PROXY", " proxy.corp:3128 ")]).as_deref(), Some("proxy.corp:3128"));
        assert_eq!(of(ERP, &[("all_proxy", "https://user:pass@proxy.corp")]).as_deref(), Some("proxy.corp:443"));
        assert_eq!(of(ERP, &[]), None);
    }

    #[test]
    fn loopback_is_called_directly_whatever_the_environment_says() {
        let env = [("HTTP_PROXY", "http://a:1"), ("HTTPS_PROXY", "http://a:1"), ("ALL_PROXY", "http://a:1")];
        for gateway in [
            "http://127.0.0.1:8080/openapi2",
            "http://127.8.9.1/openapi2",
            "https://[::1]:1/openapi2",
            "http://[::ffff:127.0.0.1]/",
            "http://localhost:1/",
            "http://LOCALHOST/",
            "http://localhost./",
            "https://erp.localhost/",
        ] {
            assert_eq!(of(gateway, &env), None, "{gateway}");
        }
        for gateway in ["http://128.0.0.1/", "http://localhost.example/", "http://notlocalhost/", "http://[::2]/"] {
            assert_eq!(of(gateway, &env).as_deref(), Some("a:1"), "{gateway}");
        }
    }

    #[test]
    fn no_proxy_excludes_names_domains_addresses_networks_and_ports() {
        let through =
            |gateway: &str, list: &str| of(gateway, &[("ALL_PROXY", "http://a:1"), ("NO_PROXY", list)]).is_some();
        for list in [
            "*",
            "api.wangdian.cn",
            "wangdian.cn",
            ".wangdian.cn",
            "*.wangdian.cn",
            "other, WANGDIAN.cn",
            "other wangdian.cn",
            "wangdian.cn:443",
        ] {
            assert!(!through(ERP, list), "{list}");
        }
        for list in ["dian.cn", "wangdian.cn:8443", "api.wangdian.cn.other", "other", ",", " "] {
            assert!(through(ERP, list), "{list}");
        }
        assert!(!through("http://10.1.2.3/", "10.0.0.0/8"));
        assert!(!through("http://47.92.239.46/openapi", "*"));
        assert!(!through("http://10.1.2.3:81/", "10.1.2.3:81"));
        assert!(through("http://10.1.2.3/", "10.1.2.4"));
        assert!(!through("http://[fd00::1]/", "fd00::1"));
        assert!(!through("http://[fd00::1]:81/", "[fd00::1]:81"));
        assert_eq!(of(ERP, &[("https_proxy", "a:1"), ("no_proxy", "*"), ("NO_PROXY", "other")]), None);
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_being_said() {
        for value in [
            "htp://user:s3cret@a:1",
            "http://",
            "http://user:s3cret@a:port",
            "http://user:s3cret@:1",
            "a b:s3cret",
            "http://user:12#s3cret@p:1",
            "http://user:12/s3cret@p:1",
            "user:12?s3cret@p:1",
        ] {
            let env = |name: &str| (name == "HTTPS_PROXY").then(|| value.to_owned());
            let error = route(&Url::parse(ERP).expect("a URL"), env).map(|_| ()).expect_err(value);
            assert_eq!(error.kind().exit_code(), 2, "{value}");
            assert!(error.message().contains("HTTPS_PROXY"), "{error}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
    }
}
