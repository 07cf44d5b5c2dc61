//! The HTTP client for one gateway, and what its failures mean: what passes, and what no repetition makes better.
//!
//! Certificates are checked by the platform's own rules, against the platform's own store: on Linux the usual bundles,
//! or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name instead; on macOS and Windows the system's store.

use std::error::Error as StdError;
use std::io;
use std::iter::successors;
use std::time::Duration;

use rustls::{AlertDescription, Error as TlsError};
use url::Url;

use super::policy::{CallPolicy, ProxyUse};
use super::proxy::{self, Route};
use crate::error::{Error, ErrorClass, Result};
use crate::text::{key, text};

/// Speaks HTTP to one gateway.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: reqwest::Client,
    /// The proxy on the way: its address and the variable that named it.
    proxy: Option<(String, String)>,
    /// Host and port of the gateway.
    address: String,
}

/// A request that got no response.
#[derive(Debug)]
pub(super) enum NoResponse {
    /// There was no connection to send it on.
    Unsent(Error),
    /// It may have been sent.
    Unclear(Error),
    /// It was not sent, and will not be: no repetition makes it better.
    Hopeless(Error),
}

impl Connection {
    /// Prepares the way to `gateway`; sends nothing. So many connections are kept that are not in use.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a proxy that is none, and for a machine without certificates
    /// to trust.
    pub(super) fn new(gateway: &Url, policy: &CallPolicy, idle_connections: usize) -> Result<Self> {
        let route = match policy.proxy {
            ProxyUse::Never => None,
            ProxyUse::Environment => proxy::route(gateway, |name| std::env::var(name).ok())?,
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("wdt-lake/", env!("CARGO_PKG_VERSION")))
            // A signed form must not follow a redirect to another host.
            .redirect(reqwest::redirect::Policy::none())
            .timeout(policy.timeout)
            .connect_timeout(policy.timeout.min(Duration::from_secs(10)))
            .pool_max_idle_per_host(idle_connections)
            // What the environment names is read here, and for the gateway alone.
            .no_proxy()
            // Bodies are decompressed here as well: see `body`.
            .no_gzip();
        if gateway.scheme() == "http" && route.as_ref().is_none_or(|route| !route.is_https) {
            // No certificate will ever be looked at: the store is not read, and need not be there.
            builder = builder.tls_certs_only([]);
        }
        let mut proxy = None;
        if let Some(Route { proxy: way, address, variable, .. }) = route {
            tracing::debug!(proxy = address, variable, "the gateway is called through a proxy");
            builder = builder.proxy(way);
            proxy = Some((address, variable));
        }
        let client = builder.build().map_err(|error| {
            Error::new(ErrorClass::TlsFailed, "the HTTP client cannot start").because(error.without_url()).hint(
                "it needs the certificates of well-known authorities: install the package ca-certificates, or name a bundle in SSL_CERT_FILE",
            )
        })?;
        let host = gateway.host_str().unwrap_or_default();
        let address = gateway.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(Self { client, proxy, address })
    }

    /// What it means that a request got no response.
    pub(super) fn judge(&self, error: reqwest::Error) -> NoResponse {
        let error = error.without_url();
        let hint = causes(&error).find_map(hopeless_tls);
        if let Some(hint) = hint {
            return NoResponse::Hopeless(self.usage("no secure connection to the gateway", error).hint(hint));
        }
        // The type of this error is nobody's but the client's.
        let is_asked_for_name = causes(&error).any(|cause| cause.to_string().contains("proxy authorization required"));
        if self.proxy.is_some() && is_asked_for_name {
            return NoResponse::Hopeless(self.wants_name(Some(error)));
        }
        let is_unsent = error.is_connect();
        let error = self.via(Error::new(ErrorClass::GatewaySilent, "the gateway did not answer").because(error));
        if !is_unsent {
            return NoResponse::Unclear(error);
        }
        let check = match &self.proxy {
            None => text!(
                "the address {address} (WDT_BASE_URL or WDT_ENVIRONMENT, or base_url in wdt-lake.toml), and this machine's names and firewall",
                address = self.address
            ),
            Some((address, variable)) => text!(
                "the proxy {address} (from {variable}), which is to reach {gateway}",
                address,
                variable,
                gateway = self.address
            ),
        };
        NoResponse::Unsent(
            error.hint(text!("run the same command again later; if that does not help, check {check}", check)),
        )
    }

    /// The proxy wants a name and a password.
    pub(super) fn wants_name(&self, cause: Option<reqwest::Error>) -> Error {
        let error = self.via(Error::new(ErrorClass::ProxyWrong, "the proxy asks for a name and a password"));
        let variable = self.proxy.as_ref().map_or("HTTPS_PROXY", |(_, variable)| variable);
        let error = error.hint(text!("write them into {variable}, as http://name:password@host:port", variable));
        match cause {
            Some(cause) => error.because(cause),
            None => error,
        }
    }

    /// Says which proxy was on the way.
    pub(super) fn via(&self, error: Error) -> Error {
        match &self.proxy {
            Some((address, variable)) => error.with("proxy", format!("{address}, from {variable}")),
            None => error,
        }
    }

    fn usage(&self, message: &'static str, cause: reqwest::Error) -> Error {
        self.via(Error::new(ErrorClass::TlsFailed, message).because(cause))
    }
}

/// An error and all that caused it. An I/O error hides its own cause from `source`.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    successors(Some(error), |&error| {
        let hidden = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        hidden.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| error.source())
    })
}

/// What to do about a failure of TLS that stays as long as nobody changes certificates, clock or address.
fn hopeless_tls(cause: &(dyn StdError + 'static)) -> Option<&'static str> {
    use AlertDescription::{HandshakeFailure, InsufficientSecurity, ProtocolVersion, UnrecognisedName};
    use rustls::CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
        UnknownIssuer,
    };
    let hint = match cause.downcast_ref::<TlsError>()? {
        TlsError::InvalidCertificate(UnknownIssuer) => {
            key!(
                "nobody whom this machine trusts has issued the gateway's certificate; where a company's proxy opens TLS, its authority must be trusted: \
             on Linux, name a bundle that holds it in SSL_CERT_FILE (the variable replaces the system's bundle) or add it by update-ca-certificates; \
             on macOS and Windows, add it to the system's store"
            )
        }
        TlsError::InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }) => {
            key!(
                "set this machine's clock if it is wrong; otherwise whoever runs the gateway, or the proxy before it, must renew the certificate"
            )
        }
        TlsError::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            key!(
                "the certificate is another host's: check WDT_BASE_URL or WDT_ENVIRONMENT, and whether a proxy or a name server leads elsewhere"
            )
        }
        TlsError::InvalidCertificate(_) | TlsError::NoCertificatesPresented => {
            key!(
                "the certificate of the gateway, or of the proxy before it, cannot be used: tell whoever runs it; on Linux, SSL_CERT_FILE names the authorities to trust"
            )
        }
        TlsError::InvalidMessage(_) => {
            key!("what answers there does not speak TLS: check the scheme and the port of WDT_BASE_URL, and the proxy")
        }
        TlsError::PeerIncompatible(_)
        | TlsError::AlertReceived(ProtocolVersion | HandshakeFailure | InsufficientSecurity | UnrecognisedName) => {
            key!(
                "what answers there and this program have no TLS in common (1.2 or 1.3 is needed): check WDT_BASE_URL and the proxy"
            )
        }
        _ => return None,
    };
    Some(hint)
}
