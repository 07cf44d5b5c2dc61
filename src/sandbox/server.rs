//! The HTTP server of the sandbox: what every call goes through, whichever gateway it speaks to.
//!
//! A call arrives, gets its number and its plan (see [`script`](super::script)), is checked for who sends it, passes the meters,
//! waits out the latency, and then reads the world in one go under its lock, where drift and hooks have their turns. Faults strike
//! before or after that work. The JSON is written outside the lock.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use crate::config::Secret;
use crate::edition::Edition;

use super::connection::Sever;
use super::fault::Fault;
use super::hostile::{Behaviour, Compression};
use super::journal::{Call, Outcome};
use super::limit::{Excess, Meter};
use super::listing::{self, Listing, Total};
use super::openapi2::{self, Form, Known, Refusal};
use super::script::{CallInfo, Plan, Script};
use super::world::SharedWorld;

/// No request of a client is anywhere near so large.
const MAX_BODY_BYTES: usize = 1 << 20;

/// What all calls share.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) edition: Edition,
    pub(super) base_path: &'static str,
    pub(super) sid: String,
    pub(super) appkey: String,
    pub(super) secret: Secret,
    pub(super) world: SharedWorld,
    script: Mutex<Script>,
    meters: Mutex<HashMap<String, Meter>>,
}

/// A place among the calls that are worked on; given back when dropped, however the call ends.
struct Slot {
    gateway: Arc<Gateway>,
    method: String,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(meter) = self.gateway.meters().get_mut(&self.method) {
            meter.leave();
        }
    }
}

/// The application that serves `gateway`.
pub(super) fn router(gateway: Arc<Gateway>) -> Router {
    Router::new().fallback(answer).with_state(gateway)
}

async fn answer(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(connection): ConnectInfo<Sever>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let method = parts.uri.path().strip_prefix(gateway.base_path).and_then(|rest| rest.strip_prefix('/'));
    let mut response = match (method, to_bytes(body, MAX_BODY_BYTES).await) {
        (Some(openapi2::METHOD), Ok(body)) => {
            let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let form = openapi2::form(parts.method == Method::POST, content_type, &body);
            gateway.call(openapi2::METHOD, form, &parts.headers, &connection).await
        }
        (_, Ok(_)) => bare(StatusCode::NOT_FOUND),
        (_, Err(_)) => bare(StatusCode::PAYLOAD_TOO_LARGE),
    };
    response.headers_mut().insert(header::DATE, gateway.date());
    response
}

impl Gateway {
    pub(super) fn new(
        edition: Edition,
        base_path: &'static str,
        (sid, appkey, secret): (String, String, Secret),
        world: SharedWorld,
        behaviour: Behaviour,
    ) -> Self {
        let (script, meters) = (Mutex::new(Script::new(behaviour)), Mutex::default());
        Self { edition, base_path, sid, appkey, secret, world, script, meters }
    }

    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meters(&self) -> MutexGuard<'_, HashMap<String, Meter>> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `Date` of an answer, by the server's clock.
    fn date(&self) -> HeaderValue {
        let seconds = u64::try_from(self.world.clock().now().unix()).unwrap_or(0);
        let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// One call of the enterprise or Y gateway.
    async fn call(
        self: &Arc<Self>,
        method: &str,
        form: Result<Form, Refusal>,
        headers: &HeaderMap,
        connection: &Sever,
    ) -> Response<Body> {
        let (info, mut plan) = {
            let mut script = self.script();
            let info = info(script.arrive(), method, form.as_ref().ok());
            let plan = script.plan(&info);
            (info, plan)
        };
        let dialect = plan.behaviour.dialect(self.edition);
        if let Some(fault) = plan.fault.take_if(|fault| !fault.comes_after_the_work()) {
            return self.fail_at_once(&fault, &info, connection, &plan).await;
        }
        let checked = form.and_then(|form| Ok((self.admit(&form, method, &plan.behaviour)?, form)));
        let latency = plan.behaviour.latency.draw(&mut plan.dice);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        // The slot is held until the answer is written.
        let (slot, form) = match checked {
            Ok((slot, form)) => (Some(slot), Ok(form)),
            Err(refusal) => (None, Err(refusal)),
        };
        let json = match self.work(form, &info, &mut plan) {
            Ok(listing) => openapi2::rows_json(&listing, dialect),
            Err(refusal) => openapi2::refusal_json(&refusal, dialect),
        };
        drop(slot);
        match &plan.fault {
            Some(fault) => fault.spoil(json.into(), connection).await,
            None => json_response(json, plan.behaviour.compression, headers),
        }
    }

    /// Checks the caller, then lets the call in past the meters.
    fn admit(self: &Arc<Self>, form: &Form, method: &str, behaviour: &Behaviour) -> Result<Slot, Refusal> {
        let known = Known { sid: &self.sid, appkey: &self.appkey, secret: self.secret.expose() };
        openapi2::authorize(form, known, self.world.clock().now())?;
        self.meters()
            .entry(method.to_owned())
            .or_default()
            .enter(Instant::now(), behaviour.calls_per_minute, behaviour.max_concurrency)
            .map_err(|excess| match excess {
                Excess::Rate => Refusal::too_often(),
                Excess::Concurrency => Refusal::too_many_at_once(),
            })?;
        Ok(Slot { gateway: self.clone(), method: method.to_owned() })
    }

    /// Reads the world, with all that happens to it meanwhile, and writes the journal.
    fn work(&self, form: Result<Form, Refusal>, info: &CallInfo, plan: &mut Plan) -> Result<Listing, Refusal> {
        let query = form.and_then(|form| openapi2::query(&form));
        let mut world = self.world.lock();
        let began = world.call_begins();
        let statements = query.as_ref().map_or(0, |query| if query.total == Total::Wanted { 2 } else { 1 });
        plan.before(&mut world, info, statements);
        let listing = query.map(|query| {
            let (behaviour, mut dice) = (plan.behaviour.clone(), plan.dice.clone());
            listing::list(&mut world, &query, &behaviour, &mut dice, |world| plan.between(world, info))
        });
        plan.after(&mut world, info);
        let outcome = match (&plan.fault, &listing) {
            (Some(fault), _) => Outcome::Faulted(fault.name()),
            (None, Ok(_)) => Outcome::Answered,
            (None, Err(Refusal { code, message })) => Outcome::Refused { code: *code, message: message.clone() },
        };
        world.call_ends(Call {
            nth: info.nth,
            began,
            ended: began,
            method: info.method.clone(),
            params: info.params.clone(),
            outcome,
            rows: listing.iter().flat_map(|listing| &listing.rows).map(|row| row.version()).collect(),
            total: listing.as_ref().ok().and_then(|listing| listing.total),
        });
        listing
    }

    /// A fault that strikes before the gateway does anything.
    async fn fail_at_once(&self, fault: &Fault, info: &CallInfo, connection: &Sever, plan: &Plan) -> Response<Body> {
        let json = {
            let mut world = self.world.lock();
            let began = world.call_begins();
            let (outcome, json) = match fault {
                Fault::Business { code, message } => {
                    let refusal = Refusal::new(*code, message.clone());
                    let json = openapi2::refusal_json(&refusal, plan.behaviour.dialect(self.edition));
                    (Outcome::Refused { code: *code, message: message.clone() }, json)
                }
                other => (Outcome::Faulted(other.name()), String::new()),
            };
            world.call_ends(Call {
                nth: info.nth,
                began,
                ended: began,
                method: info.method.clone(),
                params: info.params.clone(),
                outcome,
                rows: Vec::new(),
                total: None,
            });
            json
        };
        fault.spoil(Bytes::from(json), connection).await
    }
}

fn info(nth: u64, method: &str, form: Option<&Form>) -> CallInfo {
    let mut params = form.cloned().unwrap_or_default();
    params.remove("sign");
    CallInfo { nth, method: method.to_owned(), window: form.and_then(openapi2::window_of), params }
}

fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn json_response(json: String, compression: Compression, headers: &HeaderMap) -> Response<Body> {
    let accepts = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let gzip = compression == Compression::Gzip && accepts.into_iter().any(|value| value.contains("gzip"));
    let packed = if gzip { gzipped(&json) } else { None };
    let encoded = packed.is_some();
    let mut response = Response::new(Body::from(packed.unwrap_or_else(|| json.into_bytes())));
    // The vendor's gateway labels its JSON so.
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if encoded {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn gzipped(json: &str) -> Option<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // Writing to memory does not fail; if it did, the plain answer would do.
    encoder.write_all(json.as_bytes()).ok()?;
    encoder.finish().ok()
}
