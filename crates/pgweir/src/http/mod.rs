//! The HTTP side: health, metrics, an API and a page, for reading.
//!
//! It has a thread and a runtime of its own and shares nothing with the data path but what it reads:
//! scraping never slows a query, and busy clients do not make a probe fail. It asks for no password, and
//! so shows nothing that needs one.

mod api;
mod page;

pub(crate) use page::staleness;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use pgweir_pool::{Access, Cluster};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::AbortHandle;

use crate::gateway::{Gateway, Phase};
use crate::serve::AcceptHttp;
use crate::snapshot::Policy;
use crate::telemetry::{CONTENT_TYPE as METRICS_TYPE, observe};

use api::NoAnswer;

/// How long a peer may take over the head of its request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections served at a time.
const MAX_CONNECTIONS: usize = 256;

/// How long accepting rests when the system has no descriptor to give.
const ACCEPT_REST: Duration = Duration::from_millis(50);

type Answer = Response<Full<Bytes>>;

/// Serves the connections of a listener for as long as it is open, in a thread of its own.
pub(crate) async fn serve(mut door: AcceptHttp, gateway: Arc<Gateway>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let worker = match Worker::start(places.clone()) {
        Ok(worker) => worker,
        Err(error) => {
            tracing::error!(%error, "there is no thread for HTTP");
            return;
        }
    };
    let mut open = Connections::default();
    loop {
        let socket = match door.next().await {
            Some(Ok(socket)) => socket,
            Some(Err(_)) => {
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
            None => return,
        };
        open.make_room();
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        // It was registered with the runtime that serves clients.
        if let Ok(socket) = socket.into_std() {
            let served = worker.runtime.spawn(connection(socket, gateway.clone(), place));
            open.add(served.abort_handle());
        }
    }
}

/// The connections there are, the oldest first.
#[derive(Default)]
struct Connections(VecDeque<AbortHandle>);

impl Connections {
    /// Where all places are taken, the oldest connection makes room: an answer takes no time, so that one
    /// waits for its peer. Whoever fills the places with requests that never end cannot keep a probe out.
    fn make_room(&mut self) {
        if self.0.len() >= MAX_CONNECTIONS {
            self.0.retain(|connection| !connection.is_finished());
        }
        if self.0.len() >= MAX_CONNECTIONS
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
    }

    fn add(&mut self, connection: AbortHandle) {
        self.0.push_back(connection);
    }
}

/// The thread in which requests are answered. It ends when this is dropped and its connections are done.
struct Worker {
    runtime: Handle,
    _alive: oneshot::Sender<()>,
}

impl Worker {
    fn start(places: Arc<Semaphore>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (alive, ended) = oneshot::channel::<()>();
        let handle = runtime.handle().clone();
        thread::Builder::new().name("pgweir-http".to_owned()).spawn(move || {
            runtime.block_on(async {
                let _ = ended.await;
                // All places are free when all connections are done.
                let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
                let _ = places.acquire_many(all).await;
            });
        })?;
        Ok(Self { runtime: handle, _alive: alive })
    }
}

async fn connection(
    socket: std::net::TcpStream,
    gateway: Arc<Gateway>,
    place: OwnedSemaphorePermit,
) {
    let Ok(socket) = TcpStream::from_std(socket) else { return };
    let service = service_fn(move |request| {
        let gateway = gateway.clone();
        async move { Ok::<_, Infallible>(answer(&request, &gateway)) }
    });
    // A peer that breaks off is of no concern.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(socket), service)
        .await;
    drop(place);
}

fn answer(request: &Request<Incoming>, gateway: &Gateway) -> Answer {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    let query = request.uri().query().unwrap_or_default();
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" => readiness(gateway, query),
        "/startupz" => verdict(started(gateway)),
        "/metrics" => with_type(METRICS_TYPE, observe(gateway)),
        "/" => with_type("text/html; charset=utf-8", page::render(gateway)),
        path => match path.strip_prefix(api::PREFIX) {
            Some(name) => json(&api::answer(name, query, gateway)),
            None => text(StatusCode::NOT_FOUND, "not found\n"),
        },
    }
}

fn json(answer: &Result<serde_json::Value, NoAnswer>) -> Answer {
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body.to_string()),
        Err(NoAnswer::NotFound) => (StatusCode::NOT_FOUND, error("not found")),
        Err(NoAnswer::BadQuery(why)) => (StatusCode::BAD_REQUEST, error(why)),
    };
    let mut answer = with_type("application/json", body);
    *answer.status_mut() = status;
    answer
}

fn error(why: &str) -> String {
    serde_json::json!({ "error": why }).to_string()
}

/// What readiness may be asked for.
#[derive(Debug, Clone, Copy)]
enum Role {
    Read,
    Write,
    /// Whatever there is to do: a primary that is away for a moment does not send clients away who
    /// could wait for it.
    Any,
}

/// Ready while it serves, and every cluster has who answers: reads (`role=read`), writes
/// (`role=write`), or either.
fn readiness(gateway: &Gateway, query: &str) -> Answer {
    if *gateway.phase().borrow() != Phase::Serving {
        return verdict(Err("draining\n".to_owned()));
    }
    let role = match query.split('&').find_map(|pair| pair.strip_prefix("role=")) {
        Some("read") => Role::Read,
        Some("write") => Role::Write,
        None => Role::Any,
        Some(_) => return text(StatusCode::BAD_REQUEST, "role is read or write\n"),
    };
    let now = gateway.now();
    let lacking = now.policies().filter(|policy| !is_ready(policy, role));
    let what = if matches!(role, Role::Write) { "primary" } else { "node for reads" };
    let missing: String =
        lacking.map(|policy| format!("cluster {}: no {what}\n", policy.cluster.name())).collect();
    verdict(if missing.is_empty() { Ok(()) } else { Err(missing) })
}

fn is_ready(policy: &Policy, role: Role) -> bool {
    match role {
        Role::Read => has_node(policy, Access::Replica),
        Role::Write => has_node(policy, Access::Primary),
        Role::Any => has_node(policy, Access::Replica) || knows_primary(&policy.cluster),
    }
}

fn knows_primary(cluster: &Cluster) -> bool {
    cluster.topology().primary.is_some()
}

/// Whether a node serves what is wanted, the primary's standing in for replicas included.
fn has_node(policy: &Policy, access: Access) -> bool {
    let want = policy.want(access);
    let topology = policy.cluster.topology();
    let candidates = pgweir_pool::explain(&topology, &policy.reads, &want, Instant::now());
    candidates.iter().any(|candidate| candidate.eligible.is_ok())
}

/// Started once every node of every cluster has answered, or failed to, for the first time.
fn started(gateway: &Gateway) -> Result<(), String> {
    let now = gateway.now();
    let waiting: Vec<&str> = now
        .clusters()
        .filter(|(_, cluster)| !cluster.topology().known)
        .map(|(name, _)| name)
        .collect();
    if waiting.is_empty() {
        return Ok(());
    }
    Err(format!("still probing: {}\n", waiting.join(", ")))
}

fn verdict(state: Result<(), String>) -> Answer {
    match state {
        Ok(()) => text(StatusCode::OK, "ok\n"),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

fn text(status: StatusCode, body: impl Into<String>) -> Answer {
    let mut answer = with_type("text/plain; charset=utf-8", body.into());
    *answer.status_mut() = status;
    answer
}

fn with_type(content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::from(body));
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in headers {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}
