//! Who may stay connected: a bounded number of clients, and who makes room when a newcomer finds every place taken.
//!
//! Refusing newcomers would let whoever came first lock scrapes out, and sending off the longest connected would send
//! off a Prometheus that keeps its connection. So:
//!
//! 1. The network that holds the most connections gives one up: a client with a few is not touched by one with many.
//! 2. Of its connections one goes that is of the least use: one that is only being closed; then, while they fill half
//!    of the places, the oldest that has not asked anything yet (half a head, garbage, silence); then whoever has been
//!    idle longest; then who has been getting an answer for longest.
//!
//! Half of the places belong to newcomers, so that a flood of them passes by a good one in no less than that many
//! accepts: its request lies in the socket by the time it is accepted. The other half belongs to who asked before.
//! Streams are counted by [`Live`](super::Live) and take nobody's place.
//!
//! Who owes a request for too long goes, too. One timer serves all of them and is never moved before it fires, since
//! every deadline to come is a later one: a timer for each client would cost every scrape over a new connection a
//! wake-up of the event loop for itself.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep_until};

/// Clients at a time beside streams. A scrape is done in a moment, so a fleet of servers needs a few.
pub(super) const MOST_CLIENTS: usize = 64;

/// How long a client may take to send a request's head, and to come back with the next one: longer than the usual 15 s
/// and 30 s between two scrapes, and than the jitter in them.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);

/// Descriptors that are left to the rest of the program after they ran out: collectors open files, too.
const SPARE: usize = 4;
/// How long there are fewer places after descriptors ran out.
const LEAN: Duration = Duration::from_secs(60);
/// Between two attempts to accept while that fails: the listener stays readable, so without a pause this would spin.
const PAUSE: Duration = Duration::from_millis(10);

/// What a client is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It has not asked anything yet.
    New,
    /// Its request is being looked at.
    Asking,
    /// Its answer is on the way.
    Answered,
    /// Its answer is a stream.
    Streaming,
    /// All it asked for is sent.
    Idle,
    /// Only the end is left.
    Leaving,
}

/// One connection: what the accept loop and the connection's task both know of it.
#[derive(Debug)]
pub(super) struct Client {
    network: IpAddr,
    state: Mutex<(Phase, Instant)>,
    /// Whether bytes came since its last request.
    heard: AtomicBool,
    /// Tells its conversation to see whether it has owed a request for too long.
    looked_at: Notify,
}

impl Client {
    pub(super) fn new(address: IpAddr) -> Self {
        Self {
            network: network(address),
            state: Mutex::new((Phase::New, Instant::now())),
            heard: AtomicBool::new(false),
            looked_at: Notify::new(),
        }
    }

    /// Until it has owed a request for too long. Takes [`Connections::watch`] to notice.
    pub(super) async fn tires(&self) {
        while self.owes_request_until().is_none_or(|end| Instant::now() < end) {
            self.looked_at.notified().await;
        }
    }

    /// When our patience with a client ends that is to send a request; `None` where something else is waited for.
    fn owes_request_until(&self) -> Option<Instant> {
        let (phase, since) = self.state();
        matches!(phase, Phase::New | Phase::Idle).then(|| since + PATIENCE)
    }

    /// Bytes came from it.
    pub(super) fn heard(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// It has sent a whole head. Returns whether that came together with the head before.
    pub(super) fn asks(&self) -> bool {
        self.enter(Phase::Asking);
        !self.heard.swap(false, Ordering::Relaxed)
    }

    /// What it asked for is there and goes out from now on.
    pub(super) fn is_answered(&self, with_stream: bool) {
        self.enter(if with_stream { Phase::Streaming } else { Phase::Answered });
    }

    /// Everything there was to send is sent.
    pub(super) fn sent(&self) {
        if self.state().0 == Phase::Answered {
            self.enter(Phase::Idle);
        }
    }

    /// Nothing more is answered.
    pub(super) fn leaves(&self) {
        self.enter(Phase::Leaving);
    }

    /// Whether an answer is owed that has an end.
    pub(super) fn waits_for_answer(&self) -> bool {
        matches!(self.state().0, Phase::Asking | Phase::Answered)
    }

    fn enter(&self, phase: Phase) {
        *self.lock() = (phase, Instant::now());
    }

    fn state(&self) -> (Phase, Instant) {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, (Phase, Instant)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What counts as one client's doing: an address, or in IPv6 the /64 that a single machine may take addresses from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// The connections. Dropping it ends them all.
pub(super) struct Connections {
    held: Vec<(Arc<Client>, AbortHandle)>,
    most: usize,
    /// Until when `most` is less than it could be.
    lean: Option<Instant>,
    /// Runs while there are connections; before its end none has owed a request for too long.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self { held: Vec::new(), most: MOST_CLIENTS, lean: None, timer: None }
    }

    /// Waits until some client may have owed a request for too long, and has those that did go. To be called again and
    /// again; who stops waiting for it and calls it anew waits no longer.
    pub(super) async fn watch(&mut self) {
        match &mut self.timer {
            Some(timer) => timer.await,
            None => pending().await,
        }
        self.held.retain(|(_, task)| !task.is_finished());
        let now = Instant::now();
        let look = |client: &Client| match client.owes_request_until() {
            Some(end) if end > now => end,
            over => {
                if over.is_some() {
                    client.looked_at.notify_one();
                }
                // Who owes none now may at any time, and whoever is to go may send its request before it does.
                now + PATIENCE
            }
        };
        let next = self.held.iter().map(|(client, _)| look(client)).min();
        self.timer = next.map(|end| Box::pin(sleep_until(end)));
    }

    /// Takes a newcomer in, and runs its conversation in a task that ends with this.
    pub(super) fn admit<F>(&mut self, address: IpAddr, conversation: impl FnOnce(Arc<Client>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if self.lean.is_some_and(|end| Instant::now() >= end) {
            (self.most, self.lean) = (MOST_CLIENTS, None);
            log::info!("up to {MOST_CLIENTS} connections again");
        }
        self.shrink_to(self.most - 1);
        let client = Arc::new(Client::new(address));
        let task = tokio::spawn(conversation(Arc::clone(&client))).abort_handle();
        self.held.push((client, task));
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + PATIENCE)));
    }

    /// A connection could not be accepted. Out of descriptors, most likely: some clients go at once and their number
    /// stays down for a while, so that newcomers find room and so does what the rest of the program opens.
    pub(super) async fn cannot_accept(&mut self, error: &io::Error) {
        if error.kind() == io::ErrorKind::ConnectionAborted {
            return; // it went away while it waited for us
        }
        let before = self.counted();
        self.shrink_to(before.saturating_sub(SPARE));
        self.most = self.counted().max(SPARE);
        if self.lean.replace(Instant::now() + LEAN).is_none() {
            log::warn!("cannot accept a connection: {error}; for a minute fewer than the {before} there were");
        }
        tokio::time::sleep(PAUSE).await;
    }

    fn shrink_to(&mut self, number: usize) {
        self.held.retain(|(_, task)| !task.is_finished());
        while self.counted() > number
            && let Some(place) = least_useful(self.held.iter().map(|(client, _)| client.as_ref()))
        {
            self.held.swap_remove(place).1.abort();
        }
    }

    fn counted(&self) -> usize {
        self.held.iter().filter(|(client, _)| client.state().0 != Phase::Streaming).count()
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.held.iter().for_each(|(_, task)| task.abort());
    }
}

/// Who makes room for a newcomer; `None` where there are only streams.
fn least_useful<'a>(clients: impl Iterator<Item = &'a Client>) -> Option<usize> {
    let states = clients.enumerate().map(|(place, client)| (place, client.network, client.state()));
    let counted: Vec<_> = states.filter(|(_, _, (phase, _))| *phase != Phase::Streaming).collect();
    let newcomers = counted.iter().filter(|(_, _, (phase, _))| *phase == Phase::New).count();
    let many = newcomers >= MOST_CLIENTS / 2;
    let rank = |phase| match phase {
        Phase::Leaving => 0,
        Phase::New if many => 1,
        Phase::Idle => 2,
        Phase::Asking | Phase::Answered | Phase::Streaming => 3,
        Phase::New => 4,
    };
    let mut shares = BTreeMap::new();
    counted.iter().for_each(|(_, network, _)| *shares.entry(*network).or_insert(0) += 1);
    let largest = shares.values().max()?;
    let candidates = counted.iter().filter(|(_, network, _)| shares.get(network) == Some(largest));
    candidates.min_by_key(|(_, _, (phase, since))| (rank(*phase), *since)).map(|(place, ..)| *place)
}

#[cfg(test)]
mod tests;
