//! Who may come in by name and password.
//!
//! A check costs tens of milliseconds by design, so what was found out is remembered (by a keyed hash, never as it
//! came), and nobody but those who wait for a check pays for one: one is made at a time, on a thread of its own, for
//! the addresses that ask in turn. The good are remembered apart from the wrong, so that a flood of guesses pushes out
//! no scraper; and an unknown name is checked like a known one, so that time does not tell them apart.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::format::{User, cost};

/// Credentials that are remembered, of each sort.
const REMEMBERED: usize = 64;
/// How long somebody waits for a check, from a place in the queue to its end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Names and their hashes.
pub(super) struct Users {
    hashes: HashMap<String, String>,
    /// What unknown names are checked against; no password has it.
    nobody: String,
}

impl Users {
    /// `None` where nobody is named, so that nobody is asked.
    pub(super) fn new(users: Vec<User>) -> Option<Self> {
        let highest = users.iter().filter_map(|user| cost(&user.hash)).max()?;
        let nobody = format!("$2b${highest:02}${}", ".".repeat(53));
        Some(Self { hashes: users.into_iter().map(|user| (user.name, user.hash)).collect(), nobody })
    }
}

/// What is known of a request's credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    /// Missing, unknown or wrong: who asks learns no more.
    Wrong,
    /// Too many ask.
    Busy,
}

/// Checks passwords, and remembers.
pub(super) struct Passwords {
    key: hmac::Key,
    good: Mutex<Remembered>,
    wrong: Mutex<Remembered>,
    /// The one check at a time.
    turn: Arc<Semaphore>,
    /// Who waits for it: one from each address, which is fair to the others.
    lanes: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
}

/// The newest so many; their hashes are of a key that nobody knows.
#[derive(Default)]
struct Remembered(VecDeque<hmac::Tag>);

impl Remembered {
    fn knows(&self, tag: &hmac::Tag) -> bool {
        self.0.iter().any(|known| verify_slices_are_equal(known.as_ref(), tag.as_ref()).is_ok())
    }

    fn add(&mut self, tag: hmac::Tag) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(tag);
    }
}

impl Passwords {
    /// Remembers nothing yet.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub(super) fn new() -> Result<Self, Unspecified> {
        Ok(Self {
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?,
            good: Mutex::default(),
            wrong: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            lanes: Mutex::default(),
        })
    }

    /// What is true of an Authorization header from this address.
    pub(super) async fn check(&self, users: &Users, address: IpAddr, authorization: Option<&[u8]>) -> Verdict {
        let Some((name, password)) = authorization.and_then(credentials) else { return Verdict::Wrong };
        let known = users.hashes.get(&name);
        let hash = known.unwrap_or(&users.nobody).clone();
        let tag = self.tag(&name, &hash, &password);
        if let Some(verdict) = self.remembered(&tag) {
            return verdict;
        }
        let known = known.is_some();
        tokio::time::timeout(PATIENCE, self.ask(tag, known, hash, password, address)).await.unwrap_or(Verdict::Busy)
    }

    async fn ask(&self, tag: hmac::Tag, known: bool, hash: String, password: Vec<u8>, address: IpAddr) -> Verdict {
        let Some(place) = self.place(address).await else { return Verdict::Busy };
        // Somebody before us may have come with the same: a scraper's first requests all do.
        if let Some(verdict) = self.remembered(&tag) {
            return verdict;
        }
        let checked = tokio::task::spawn_blocking(move || {
            // A client that leaves does not end its check, so it does not give its place to the next one either.
            let _place = place;
            bcrypt::verify(&password, &hash)
        });
        let Ok(checked) = checked.await else { return Verdict::Busy };
        let good = known && checked.unwrap_or(false);
        lock(if good { &self.good } else { &self.wrong }).add(tag);
        if good { Verdict::Good } else { Verdict::Wrong }
    }

    fn remembered(&self, tag: &hmac::Tag) -> Option<Verdict> {
        if lock(&self.good).knows(tag) {
            return Some(Verdict::Good);
        }
        lock(&self.wrong).knows(tag).then_some(Verdict::Wrong)
    }

    /// The one place for a check, in turn with other addresses.
    async fn place(&self, address: IpAddr) -> Option<[OwnedSemaphorePermit; 2]> {
        let lane = self.lane(address);
        let first = lane.acquire_owned().await.ok()?;
        let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
        Some([turn, first])
    }

    fn lane(&self, address: IpAddr) -> Arc<Semaphore> {
        let mut lanes = lock(&self.lanes);
        let network = network(address);
        if let Some(lane) = lanes.get(&network).and_then(Weak::upgrade) {
            return lane;
        }
        lanes.retain(|_, lane| lane.strong_count() > 0);
        let lane = Arc::new(Semaphore::new(1));
        lanes.insert(network, Arc::downgrade(&lane));
        lane
    }

    /// The hash is part of it: credentials of a user whose password was changed are new ones.
    fn tag(&self, name: &str, hash: &str, password: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [name.as_bytes(), hash.as_bytes(), password] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        context.sign()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one client has to itself: an IPv6 host has a network full of addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

/// Name and password of a header (RFC 7617).
pub(super) fn credentials(header: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, coded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut name = STANDARD.decode(coded.trim_ascii()).ok()?;
    let colon = name.iter().position(|byte| *byte == b':')?;
    let password = name.split_off(colon + 1);
    name.truncate(colon);
    Some((String::from_utf8(name).ok()?, password))
}

#[cfg(test)]
#[path = "passwords_tests.rs"]
mod tests;
