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
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::edition::Edition;

use super::connection::Sever;
use super::fault::Fault;
use super::front::{self, Asked, Front, Known, Params, Question, Refusal, Reply};
use super::hostile::{Behaviour, Compression};
use super::journal::{Call, Outcome};
use super::limit::Meter;
use super::listing::{self, Total};
use super::script::{CallInfo, Plan, Script};
use super::stop::Pending;
use super::world::{SharedWorld, World};

/// No request of a client is anywhere near so large.
const MAX_BODY_BYTES: usize = 1 << 20;

/// What all calls share.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) edition: Edition,
    pub(super) base_path: &'static str,
    front: Front,
    known: Known,
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
    let mut response = match to_bytes(body, MAX_BODY_BYTES).await {
        Ok(body) => match gateway.front.read(gateway.base_path, &parts, &body) {
            Some(asked) => gateway.call(asked, &parts.headers, &connection).await,
            None => bare(StatusCode::NOT_FOUND),
        },
        Err(_) => bare(StatusCode::PAYLOAD_TOO_LARGE),
    };
    response.headers_mut().insert(header::DATE, gateway.date());
    response
}

impl Gateway {
    pub(super) fn new(
        edition: Edition,
        base_path: &'static str,
        known: Known,
        world: SharedWorld,
        behaviour: Behaviour,
    ) -> Self {
        let (script, meters) = (Mutex::new(Script::new(behaviour)), Mutex::default());
        Self { edition, base_path, front: Front::of(edition), known, world, script, meters }
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

    /// One call.
    async fn call(self: &Arc<Self>, asked: Asked, headers: &HeaderMap, connection: &Sever) -> Response<Body> {
        let (info, mut plan) = {
            let mut script = self.script();
            let info = self.info(script.arrive(), &asked);
            let plan = script.plan(&info);
            (info, plan)
        };
        let dialect = plan.behaviour.dialect(self.edition);
        if let Some(fault) = plan.fault.take_if(|fault| !fault.comes_after_the_work()) {
            return self.fail_at_once(&fault, &info, connection, &plan).await;
        }
        let checked = asked.params.and_then(|params| Ok((self.admit(&params, &info, &plan.behaviour)?, params)));
        let latency = plan.behaviour.latency.draw(&mut plan.dice);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        // The slot is held until the answer is written.
        let (slot, params) = match checked {
            Ok((slot, params)) => (Some(slot), Ok(params)),
            Err(refusal) => (None, Err(refusal)),
        };
        let json = match self.work(params, &info, &mut plan) {
            Ok(reply) => self.front.reply_json(&reply, &plan.behaviour, dialect),
            Err(refusal) => self.front.refusal_json(&refusal, dialect),
        };
        drop(slot);
        match &plan.fault {
            Some(fault) => fault.spoil(json.into(), connection).await,
            None => json_response(json, plan.behaviour.compression, headers),
        }
    }

    fn info(&self, nth: u64, asked: &Asked) -> CallInfo {
        let params = asked.params.as_ref().map(|params| self.front.told(params)).unwrap_or_default();
        CallInfo { nth, method: asked.method.clone(), window: front::window_of(&params), params }
    }

    /// Checks the caller, then lets the call in past the meters.
    fn admit(self: &Arc<Self>, params: &Params, info: &CallInfo, behaviour: &Behaviour) -> Result<Slot, Refusal> {
        self.front.authorize(params, &self.known, self.world.clock().now())?;
        self.meters()
            .entry(info.method.clone())
            .or_default()
            .enter(Instant::now(), behaviour.calls_per_minute, behaviour.max_concurrency)
            .map_err(|excess| self.front.turned_away(excess, info.nth))?;
        Ok(Slot { gateway: self.clone(), method: info.method.clone() })
    }

    /// Reads or changes the world, with all that happens to it meanwhile, and writes the journal.
    fn work(&self, params: Result<Params, Refusal>, info: &CallInfo, plan: &mut Plan) -> Result<Reply, Refusal> {
        let question = params.and_then(|params| self.front.question(&info.method, &params, &plan.behaviour));
        let mut world = self.world.lock();
        let began = world.call_begins();
        let statements = match &question {
            Ok(Question::List(query)) => 1 + usize::from(query.total == Total::Wanted),
            Ok(Question::Stop(_)) | Err(_) => 0,
        };
        plan.before(&mut world, info, statements);
        let reply = question.map(|question| match question {
            Question::List(query) => {
                let (behaviour, mut dice) = (plan.behaviour.clone(), plan.dice.clone());
                let between = |world: &mut World| plan.between(world, info);
                Reply::Rows(listing::list(&mut world, &query, &behaviour, &mut dice, between))
            }
            Question::Stop(numbers) => Reply::Stopped(match plan.fault {
                Some(Fault::LateEffect { seconds }) => {
                    let due = world.now().plus_seconds(seconds.into());
                    world.stop_later(Pending { call: info.nth, numbers, due });
                    Vec::new()
                }
                _ => world.stop(info.nth, &numbers),
            }),
        });
        plan.after(&mut world, info);
        let outcome = match (&plan.fault, &reply) {
            (Some(fault), _) => Outcome::Faulted(fault.name()),
            (None, Ok(_)) => Outcome::Answered,
            (None, Err(Refusal { code, message })) => Outcome::Refused { code: *code, message: message.clone() },
        };
        let listing = match &reply {
            Ok(Reply::Rows(listing)) => Some(listing),
            _ => None,
        };
        world.call_ends(Call {
            nth: info.nth,
            began,
            ended: began,
            method: info.method.clone(),
            params: info.params.clone(),
            outcome,
            rows: listing.iter().flat_map(|listing| &listing.rows).map(|row| row.version()).collect(),
            total: listing.and_then(|listing| listing.total),
        });
        reply
    }

    /// A fault that strikes before the gateway does anything.
    async fn fail_at_once(&self, fault: &Fault, info: &CallInfo, connection: &Sever, plan: &Plan) -> Response<Body> {
        let json = {
            let mut world = self.world.lock();
            let began = world.call_begins();
            let (outcome, json) = match fault {
                Fault::Business { code, message } => {
                    let refusal = Refusal::new(*code, message.clone());
                    let json = self.front.refusal_json(&refusal, plan.behaviour.dialect(self.edition));
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
