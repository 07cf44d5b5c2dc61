//! Starting and stopping a sandbox, and the handle by which a test or a command holds it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::config::Secret;
use crate::edition::Edition;
use crate::error::{Error, ErrorClass, Result};
use crate::text::text;

use super::clock::SandboxClock;
use super::connection::SeverableListener;
use super::fault::Fault;
use super::hostile::Behaviour;
use super::oddity::Oddities;
use super::poison::Poison;
use super::record::Requisition;
use super::render::Dialect;
use super::request::Known;
use super::script::CallInfo;
use super::server::{self, Gateway};
use super::world::{SharedWorld, World};

/// Who may call a sandbox.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// 卖家账号
    pub sid: String,
    /// 接口账号
    pub appkey: String,
    /// What signs.
    pub secret: Secret,
}

impl Default for Credentials {
    /// Those that every sandbox has unless told otherwise: they open nothing else.
    fn default() -> Self {
        Self {
            sid: "sandbox".to_owned(),
            appkey: "sandbox-test".to_owned(),
            // A flagship secret has a salt behind the colon; to the other editions it is one text like any other.
            secret: Secret::new("5ba2d0b0c0ffee5ba2d0b0c0ffee2026:5a17c0ffee5a17c0ffee5a17c0ffee26"),
        }
    }
}

/// Which addresses a sandbox may listen on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exposure {
    /// Loopback only: its credentials are no secret.
    #[default]
    Loopback,
    /// Any, because the user said so.
    Anywhere,
}

/// What a sandbox is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether other machines may be let in.
    pub exposure: Exposure,
    /// Which gateway it is.
    pub edition: Edition,
    /// Who may call.
    pub credentials: Credentials,
    /// How many more seller accounts there are, with the same appkey, secret and requisitions: their names are the sid
    /// with `-1`, `-2` and so on behind it.
    pub more_accounts: u32,
    /// What the ERP holds at first.
    pub requisitions: Vec<Requisition>,
    /// Its clock.
    pub clock: SandboxClock,
    /// How it misbehaves.
    pub behaviour: Behaviour,
    /// Which share of the requisitions is spoiled at first, by the seed of `behaviour`.
    pub poison: Option<Poison>,
}

impl Default for Options {
    /// An empty enterprise ERP on a free loopback port that misbehaves in nothing and goes with the machine's clock.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            exposure: Exposure::default(),
            edition: Edition::Enterprise,
            credentials: Credentials::default(),
            more_accounts: 0,
            requisitions: Vec::new(),
            clock: SandboxClock::default(),
            behaviour: Behaviour::default(),
            poison: None,
        }
    }
}

/// A running sandbox. It ends when it is dropped.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    credentials: Credentials,
    gateway: Arc<Gateway>,
    // An option only so that dropping can take it: it must not be waited for inside another runtime.
    runtime: Option<Runtime>,
}

impl Sandbox {
    /// Starts a sandbox; it answers as soon as this returns.
    ///
    /// # Errors
    /// [`Usage`](crate::ErrorKind::Usage) when the address is not loopback and that was not allowed, or cannot be
    /// listened on, or the secret is not of the edition's form, or the edition cannot have one of the oddities.
    pub fn start(options: Options) -> Result<Self> {
        let Options {
            listen,
            exposure,
            edition,
            credentials,
            more_accounts,
            mut requisitions,
            clock,
            behaviour,
            poison,
        } = options;
        if exposure == Exposure::Loopback && !listen.ip().is_loopback() {
            return Err(Error::new(ErrorClass::SandboxWrong, text!("the sandbox does not listen on {listen}", listen))
                .hint("its credentials are no secret: listen on 127.0.0.1"));
        }
        if edition == Edition::Flagship && credentials.secret.split_salt().is_none() {
            return Err(Error::new(
                ErrorClass::SandboxWrong,
                "a flagship sandbox needs an app secret of the form secret:salt",
            ));
        }
        let base_path = match edition {
            Edition::Enterprise => "/openapi2",
            Edition::Y | Edition::Flagship => "/openapi",
        };
        behaviour.oddities.check(edition)?;
        if let Some(poison) = poison {
            poison.spoil(&mut requisitions, edition, behaviour.seed);
        }
        let world = SharedWorld::new(World::new(clock, requisitions));
        let Credentials { sid, appkey, secret } = credentials.clone();
        let known = Known { sid, more_accounts, appkey, secret };
        let oddities = behaviour.oddities.clone();
        let gateway = Arc::new(Gateway::new(edition, base_path, known, world, behaviour));
        gateway.add_twins(&oddities);
        let cannot_listen = |error| {
            Error::new(ErrorClass::SandboxWrong, text!("the sandbox cannot listen on {listen}", listen)).because(error)
        };
        let listener = TcpListener::bind(listen).map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        listener.set_nonblocking(true).map_err(cannot_listen)?;
        let runtime = serve(listener, gateway.clone())?;
        Ok(Self { address, credentials, gateway, runtime: Some(runtime) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The base URL that a client is to be given, such as `http://127.0.0.1:40123/openapi2`.
    pub fn base_url(&self) -> String {
        format!("http://{}{}", self.address, self.gateway.base_path)
    }

    /// Who may call.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The environment variables that point a client at it.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        use crate::config::env;
        [
            (env::EDITION, self.gateway.edition.to_string()),
            (env::SID, self.credentials.sid.clone()),
            (env::APPKEY, self.credentials.appkey.clone()),
            (env::APPSECRET, self.credentials.secret.expose().to_owned()),
            (env::BASE_URL, self.base_url()),
        ]
    }

    /// The ERP behind it.
    pub fn world(&self) -> &SharedWorld {
        &self.gateway.world
    }

    /// The form of its answers now; with it a journalled version gives exactly the JSON that is sent.
    pub fn dialect(&self) -> Dialect {
        self.gateway.script().behaviour.dialect(self.gateway.edition)
    }

    /// Changes how it behaves from the next call on.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(Arc::make_mut(&mut self.gateway.script().behaviour));
    }

    /// The oddities that it has now.
    pub fn oddities(&self) -> Oddities {
        self.gateway.script().behaviour.oddities.clone()
    }

    /// Changes its oddities from the next call on. What they put into the ERP stays there when they go: twins are
    /// requisitions.
    ///
    /// # Errors
    /// [`Usage`](crate::ErrorKind::Usage) when a gateway of this edition cannot have one of them; nothing changes then.
    pub fn set_oddities(&self, oddities: Oddities) -> Result<()> {
        oddities.check(self.gateway.edition)?;
        self.gateway.add_twins(&oddities);
        self.behave(|behaviour| behaviour.oddities = oddities);
        Ok(())
    }

    /// The next calls meet these faults in turn (`None`: none, whatever chance says). They are added to those already
    /// in store.
    pub fn next_faults(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.gateway.script().faults.extend(faults);
    }

    /// Chooses the fault of every call that none is in store for; where it chooses none, chance may. The choice must
    /// not call the sandbox.
    pub fn choose_faults(&self, choice: impl Fn(&CallInfo) -> Option<Fault> + Send + Sync + 'static) {
        self.gateway.script().choice = Some(Arc::new(choice));
    }

    /// Runs before every call reads the world.
    pub fn before_call(&self, hook: impl Fn(&mut World, &CallInfo) + Send + Sync + 'static) {
        self.gateway.script().hooks.before = Some(Arc::new(hook));
    }

    /// Runs between the two statements of every call that carries rows and total.
    pub fn between_statements(&self, hook: impl Fn(&mut World, &CallInfo) + Send + Sync + 'static) {
        self.gateway.script().hooks.between = Some(Arc::new(hook));
    }

    /// Runs after every call has read the world and before its answer is sent.
    pub fn after_call(&self, hook: impl Fn(&mut World, &CallInfo) + Send + Sync + 'static) {
        self.gateway.script().hooks.after = Some(Arc::new(hook));
    }

    /// Forgets all hooks and all faults in store; the behaviour stays.
    pub fn forget_script(&self) {
        self.gateway.script().forget();
    }

    /// Stops at once; calls in progress get no answer. The world stays readable through its other handles.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn serve(listener: TcpListener, gateway: Arc<Gateway>) -> Result<Runtime> {
    let failed = |error| Error::internal("cannot start the sandbox's runtime").because(error);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("sandbox")
        .enable_all()
        .build()
        .map_err(failed)?;
    let listener = {
        let _inside = runtime.enter();
        SeverableListener(tokio::net::TcpListener::from_std(listener).map_err(failed)?)
    };
    // Ends only with the runtime.
    runtime.spawn(server::serve(listener, gateway));
    Ok(runtime)
}
