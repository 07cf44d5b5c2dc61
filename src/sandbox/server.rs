//! The HTTP server of the sandbox: what every call goes through, whichever gateway it speaks to.
//!
//! A call arrives, gets its number and its plan (see [`script`](super::script)), is checked for who sends it, passes
//! the meters, waits out the latency, and then reads the world in one go under its lock, where drift and hooks have
//! their turns. Faults strike before or after that work. The JSON is written outside the lock.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::edition::Edition;
use crate::time::BeijingTime;

use super::body::{self, Body};
use super::connection::{Sever, SeverableListener};
use super::fault::{Fault, http_date};
use super::front::{self, Front};
use super::hostile::{Behaviour, Compression};
use super::journal::{Call, Outcome};
use super::limit::Meter;
use super::listing::{self, Total};
use super::oddity::{Oddities, Packing};
use super::request::{Asked, Known, Params, Question, Refusal, Reply};
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

/// Serves `gateway` to all who connect.
pub(super) async fn serve(listener: SeverableListener, gateway: Arc<Gateway>) {
    loop {
        let (stream, connection) = listener.accept().await;
        let gateway = gateway.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (gateway, connection) = (gateway.clone(), connection.clone());
            async move { Ok::<_, Infallible>(answer(gateway, connection, request).await) }
        });
        // The `Date` of an answer is the ERP's, and not always there.
        let serving = http1::Builder::new().auto_date_header(false).serve_connection(TokioIo::new(stream), service);
        // A connection that breaks is the client's affair.
        tokio::spawn(async move { drop(serving.await) });
    }
}

async fn answer(gateway: Arc<Gateway>, connection: Sever, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let asked = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(body) => gateway.front.read(gateway.base_path, &parts, &body.to_bytes()).ok_or(StatusCode::NOT_FOUND),
        Err(_) => Err(StatusCode::PAYLOAD_TOO_LARGE),
    };
    let (mut response, date) = match asked {
        Ok(asked) => gateway.call(asked, &parts.headers, &connection).await,
        Err(status) => (bare(status), Some(gateway.now().unix())),
    };
    if let Some(date) = date {
        response.headers_mut().insert(header::DATE, http_date(date));
    }
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

    /// The server's present.
    fn now(&self) -> BeijingTime {
        self.world.clock().now()
    }

    /// Puts the twins into the ERP that `oddities` ask for.
    pub(super) fn add_twins(&self, oddities: &Oddities) {
        let mut world = self.world.lock();
        let twins = oddities.twins(&world.requisitions().cloned().collect::<Vec<_>>());
        for twin in twins {
            world.add_as_is(twin);
        }
    }

    /// One call: its answer, and the `Date` of it in seconds since 1970.
    async fn call(
        self: &Arc<Self>,
        asked: Asked,
        headers: &HeaderMap,
        connection: &Sever,
    ) -> (Response<Body>, Option<i64>) {
        let (info, plan) = {
            let mut script = self.script();
            let info = self.info(script.arrive(), &asked);
            let plan = script.plan(&info, self.edition);
            (info, plan)
        };
        let (behaviour, nth) = (plan.behaviour.clone(), info.nth);
        let response = self.respond(asked, info, plan, headers, connection).await;
        (response, behaviour.oddities.date(self.now(), nth))
    }

    async fn respond(
        self: &Arc<Self>,
        asked: Asked,
        info: CallInfo,
        mut plan: Plan,
        headers: &HeaderMap,
        connection: &Sever,
    ) -> Response<Body> {
        let Asked { params, sent, .. } = asked;
        let dialect = plan.behaviour.dialect(self.edition);
        if let Some(fault) = plan.fault.take_if(|fault| !fault.comes_after_the_work()) {
            return self.fail_at_once(&fault, &info, connection, &plan).await;
        }
        let checked = params.and_then(|params| Ok((self.admit(&params, &info, &plan.behaviour)?, params)));
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
            Ok(reply) => self.front.reply_json(&self.sent(reply, &plan, info.nth), &plan.behaviour, dialect),
            Err(refusal) => self.front.refusal_json(&refusal, dialect),
        };
        drop(slot);
        let body = plan.behaviour.oddities.bytes(plan.behaviour.oddities.echoed(json, &sent), info.nth);
        match &plan.fault {
            Some(fault) => fault.spoil(body.into(), connection, self.now()).await,
            None => json_response(body, &plan.behaviour, headers),
        }
    }

    /// The answer with its records as they are sent this time.
    fn sent(&self, mut reply: Reply, plan: &Plan, nth: u64) -> Reply {
        let behaviour = &plan.behaviour;
        if let (Reply::Rows(listing), false) = (&mut reply, behaviour.oddities.is_empty()) {
            for row in &mut listing.rows {
                *row = behaviour.oddities.sent(row.clone(), self.edition, behaviour.seed, nth);
            }
        }
        reply
    }

    fn info(&self, nth: u64, asked: &Asked) -> CallInfo {
        let params = asked.params.as_ref().map(|params| self.front.told(params)).unwrap_or_default();
        CallInfo { nth, method: asked.method.clone(), window: front::window_of(&params), params }
    }

    /// Checks the caller, then lets the call in past the meters.
    fn admit(self: &Arc<Self>, params: &Params, info: &CallInfo, behaviour: &Behaviour) -> Result<Slot, Refusal> {
        let checked_at = behaviour.oddities.check_time(self.now(), info.nth);
        self.front.authorize(params, &self.known, checked_at)?;
        self.meters()
            .entry(info.method.clone())
            .or_default()
            .enter(Instant::now(), behaviour.calls_per_minute, behaviour.max_concurrency)
            .map_err(|excess| self.front.turned_away(excess, info.nth))?;
        Ok(Slot { gateway: self.clone(), method: info.method.clone() })
    }

    /// Reads or changes the world, with all that happens to it meanwhile, and writes the journal.
    fn work(&self, params: Result<Params, Refusal>, info: &CallInfo, plan: &mut Plan) -> Result<Reply, Refusal> {
        let question =
            params.and_then(|params| self.front.question(&info.method, &params, &plan.behaviour, self.edition));
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
        fault.spoil(Bytes::from(json), connection, self.now()).await
    }
}

fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = status;
    response
}

fn json_response(json: Vec<u8>, behaviour: &Behaviour, headers: &HeaderMap) -> Response<Body> {
    let accepts = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let usual = (behaviour.compression == Compression::Gzip).then_some(Packing { members: 1, label: Some("gzip") });
    let packing = behaviour.oddities.packing().or(usual);
    let packing = packing.filter(|_| accepts.into_iter().any(|value| value.contains("gzip")));
    let packed = packing.and_then(|packing| gzipped(&json, packing.members));
    let label = if packed.is_some() { packing.and_then(|packing| packing.label) } else { None };
    let mut response = Response::new(body::whole(packed.unwrap_or(json)));
    *response.status_mut() = behaviour.oddities.status();
    // The vendor's gateway labels its JSON so.
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Some(label) = label {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(label));
    }
    response
}

/// `body` in so many gzip members, one behind the other.
fn gzipped(body: &[u8], members: usize) -> Option<Vec<u8>> {
    let mut packed = Vec::new();
    let each = body.len().div_ceil(members.max(1)).max(1);
    for piece in body.chunks(each) {
        let mut encoder = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::fast());
        // Writing to memory does not fail; if it did, the plain answer would do.
        encoder.write_all(piece).ok()?;
        encoder.finish().ok()?;
    }
    Some(packed)
}
