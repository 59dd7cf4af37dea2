//! What is tested: mails, of which each is a job of apalis.

use apalis::prelude::*;
use apalis_redis::{ConnectionManager, RedisStorage};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Welcome {
    pub to: String,
}

/// Where mails go; a real one would speak SMTP.
#[derive(Clone, Default)]
pub struct Outbox(pub Arc<Mutex<Vec<String>>>);

pub async fn send(mail: Welcome, outbox: Data<Outbox>) -> Result<(), BoxDynError> {
    if !mail.to.contains('@') {
        return Err(format!("{} is no address", mail.to).into());
    }
    outbox.0.0.lock().unwrap().push(mail.to);
    Ok(())
}

pub async fn queue(url: &str) -> RedisStorage<Welcome, ConnectionManager> {
    let connection = apalis_redis::connect(url).await.expect("Redis listens");
    RedisStorage::new(connection)
}
