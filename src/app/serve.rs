//! Answering requests until shutdown.

use std::time::Duration;

use axum::Router;
use tokio::{net::TcpListener, sync::watch};

/// Answers until shutdown; requests under way may go on for `drain`.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    mut shutdown: watch::Receiver<bool>,
    drain: Duration,
) {
    let mut stopping = shutdown.clone();
    let graceful = async move {
        let _ = shutdown.wait_for(|stop| *stop).await;
    };
    let bounded = async move {
        let _ = stopping.wait_for(|stop| *stop).await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        served = axum::serve(listener, router).with_graceful_shutdown(graceful) => {
            if let Err(error) = served {
                tracing::error!(%error, "the API stopped");
            }
        }
        () = bounded => {}
    }
}
