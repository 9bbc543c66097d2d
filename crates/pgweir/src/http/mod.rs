//! The HTTP side: health, metrics, a first page for people.
//!
//! It shares nothing with the data path but what it reads: scraping never slows a query.

mod page;

pub(crate) use page::staleness;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use pgweir_pool::{Access, ReadPolicy};
use tokio::sync::Semaphore;

use crate::gateway::{Gateway, Phase};
use crate::serve::AcceptHttp;
use crate::snapshot::Policy;
use crate::telemetry::observe;

/// How long a peer may take over the head of its request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections served at a time.
const MAX_CONNECTIONS: usize = 64;

/// How long accepting rests when the system has no descriptor to give.
const ACCEPT_REST: Duration = Duration::from_millis(50);

type Answer = Response<Full<Bytes>>;

/// Serves the connections of a listener for as long as it is open.
pub(crate) async fn serve(mut door: AcceptHttp, gateway: Arc<Gateway>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let socket = match door.next().await {
            Some(Ok(socket)) => socket,
            Some(Err(_)) => {
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
            None => return,
        };
        let gateway = gateway.clone();
        tokio::spawn(async move {
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
        });
    }
}

fn answer(request: &Request<Incoming>, gateway: &Gateway) -> Answer {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" => readiness(gateway, request.uri().query()),
        "/startupz" => verdict(started(gateway)),
        "/metrics" => with_type("text/plain; version=0.0.4; charset=utf-8", observe(gateway)),
        "/" => with_type("text/html; charset=utf-8", page::render(gateway)),
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// Ready while it serves and, for every cluster, reads and writes have a node; `role=read` and
/// `role=write` ask for one of the two.
fn readiness(gateway: &Gateway, query: Option<&str>) -> Answer {
    if *gateway.phase().borrow() != Phase::Serving {
        return verdict(Err("draining\n".to_owned()));
    }
    let role = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("role="));
    let accesses: &[Access] = match role {
        Some("read") => &[Access::Replica],
        Some("write") => &[Access::Primary],
        None => &[Access::Replica],
        Some(_) => return text(StatusCode::BAD_REQUEST, "role is read or write\n"),
    };
    let mut missing = String::new();
    for policy in gateway.now().policies() {
        for access in accesses {
            if !has_node(&policy, *access) {
                let what = if *access == Access::Primary { "primary" } else { "node for reads" };
                missing.push_str(&format!("cluster {}: no {what}\n", policy.cluster.name()));
            }
        }
    }
    verdict(if missing.is_empty() { Ok(()) } else { Err(missing) })
}

fn has_node(policy: &Policy, access: Access) -> bool {
    let topology = policy.cluster.topology();
    let reads: &ReadPolicy = &policy.reads;
    let want = policy.want(access);
    pgweir_pool::explain(&topology, reads, &want, Instant::now())
        .iter()
        .any(|candidate| candidate.eligible.is_ok())
        || topology.primary.is_some()
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
    let value = hyper::header::HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, value);
    answer
}
