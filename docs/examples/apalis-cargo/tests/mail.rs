//! Each test has a server of its own, inside its process.

use apalis::prelude::*;
use mail::{Outbox, Welcome, queue, send};
use std::time::Duration;
use toril::Server;

#[tokio::test]
async fn mails_are_sent() {
    let server = Server::start().unwrap();
    let mut mails = queue(server.url()).await;
    for to in ["ada@example.com", "bob@example.com"] {
        mails.push(Welcome { to: to.into() }).await.unwrap();
    }
    let outbox = Outbox::default();
    let worker = WorkerBuilder::new("post").backend(mails).data(outbox.clone()).build(send);
    let sent = async {
        while outbox.0.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        ended = worker.run() => ended.unwrap(),
        () = sent => {}
    }
    assert_eq!(*outbox.0.lock().unwrap(), ["ada@example.com", "bob@example.com"]);
}

#[tokio::test]
async fn a_full_server_takes_no_mail() {
    let server = Server::start().unwrap();
    let mut mails = queue(server.url()).await;
    server.fault("action=oom").unwrap();
    let refused = mails.push(Welcome { to: "ada@example.com".into() }).await.unwrap_err();
    assert!(refused.to_string().contains("OOM"), "{refused}");
    server.flush().unwrap();
    mails.push(Welcome { to: "ada@example.com".into() }).await.unwrap();
}
