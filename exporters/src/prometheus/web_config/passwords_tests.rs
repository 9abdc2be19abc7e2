//! Tests of passwords, with hashes of the lowest cost.

use std::future::Future;
use std::net::Ipv4Addr;
use std::time::Instant;

use proptest::prelude::*;

use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn users(users: &[(&str, &str, u32)]) -> Users {
    let user = |(name, password, cost): &(&str, &str, u32)| User {
        name: (*name).into(),
        hash: bcrypt::hash(password, *cost).expect("a hash"),
    };
    Users::new(users.iter().map(user).collect()).expect("somebody")
}

fn header(name: &str, password: &str) -> Vec<u8> {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))).into_bytes()
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

#[test]
fn only_the_right_password_of_a_known_name_is_good() {
    let users = users(&[("alice", "first", 4), ("bob", "sec:ond", 4), ("", "nameless", 5)]);
    let passwords = Passwords::new().expect("random numbers");
    wait(async {
        // Twice, so that what is remembered is the same.
        for _ in 0..2 {
            for (name, password, verdict) in [
                ("alice", "first", Verdict::Good),
                ("bob", "sec:ond", Verdict::Good),
                ("", "nameless", Verdict::Good),
                ("alice", "sec:ond", Verdict::Wrong),
                ("alice", "", Verdict::Wrong),
                ("alice", "first\0", Verdict::Wrong),
                ("Alice", "first", Verdict::Wrong),
                ("carol", "first", Verdict::Wrong),
                // The place between name and password counts.
                ("alic", "efirst", Verdict::Wrong),
            ] {
                let found = passwords.check(&users, HERE, Some(&header(name, password))).await;
                assert_eq!(found, verdict, "{name} {password:?}");
            }
        }
        for bad in [&b""[..], b"Basic", b"Basic ", b"Basic !", b"Bearer YTpi", b"Basic YQ==", b"Basic \xff"] {
            assert_eq!(passwords.check(&users, HERE, Some(bad)).await, Verdict::Wrong, "{bad:?}");
        }
        assert_eq!(passwords.check(&users, HERE, None).await, Verdict::Wrong);
        let coded = header("alice", "first");
        let lower = [b"bASIC ", &coded[6..]].concat();
        assert_eq!(passwords.check(&users, HERE, Some(&lower)).await, Verdict::Good);
    });
}

#[test]
fn a_changed_password_is_asked_for_at_once() {
    let passwords = Passwords::new().expect("random numbers");
    wait(async {
        let before = users(&[("alice", "first", 4)]);
        assert_eq!(passwords.check(&before, HERE, Some(&header("alice", "first"))).await, Verdict::Good);
        let after = users(&[("alice", "second", 4)]);
        assert_eq!(passwords.check(&after, HERE, Some(&header("alice", "first"))).await, Verdict::Wrong);
        assert_eq!(passwords.check(&after, HERE, Some(&header("alice", "second"))).await, Verdict::Good);
    });
}

/// How many ways of looking at the memory there are, told apart by what a check would cost.
#[test]
fn guesses_push_no_good_password_out_and_keep_the_memory_bounded() {
    let users = users(&[("alice", "first", 4)]);
    let passwords = Passwords::new().expect("random numbers");
    wait(async {
        assert_eq!(passwords.check(&users, HERE, Some(&header("alice", "first"))).await, Verdict::Good);
        for guess in 0..2 * REMEMBERED {
            let guess = header("alice", &guess.to_string());
            assert_eq!(passwords.check(&users, HERE, Some(&guess)).await, Verdict::Wrong);
        }
        assert_eq!(lock(&passwords.wrong).0.len(), REMEMBERED);
        assert_eq!(lock(&passwords.good).0.len(), 1);
        assert!(lock(&passwords.lanes).len() <= 1);
    });
}

/// Nobody else gets the place while one has it, so what comes after can be told without a clock.
#[test]
fn a_flood_from_one_address_lets_another_in_after_one_of_its_own() {
    let users = users(&[("alice", "first", 4)]);
    let passwords = Arc::new(Passwords::new().expect("random numbers"));
    wait(async {
        let held = passwords.place(HERE).await.expect("a free place");
        let order = Arc::new(Mutex::new(Vec::new()));
        let users = Arc::new(users);
        let come = |address, name: String, password: &str| {
            let (passwords, users, order) = (Arc::clone(&passwords), Arc::clone(&users), Arc::clone(&order));
            let header = header("alice", password);
            tokio::spawn(async move {
                let verdict = passwords.check(&users, address, Some(&header)).await;
                lock(&order).push((name, verdict));
            })
        };
        let mut all = Vec::new();
        for guess in 0..20 {
            all.push(come(HERE, format!("guess {guess}"), &format!("{guess}")));
        }
        tokio::task::yield_now().await;
        all.push(come(ELSEWHERE, "scraper".into(), "first"));
        tokio::task::yield_now().await;
        // What is remembered needs no place at all.
        lock(&passwords.good).add(passwords.tag("alice", &users.hashes["alice"], b"remembered"));
        assert_eq!(passwords.check(&users, HERE, Some(&header("alice", "remembered"))).await, Verdict::Good);
        drop(held);
        for one in all {
            one.await.expect("no panic");
        }
        let order = lock(&order);
        let place = order.iter().position(|(name, _)| name == "scraper").expect("it came in");
        assert!(place <= 1, "{order:?}");
        assert_eq!(order[place].1, Verdict::Good);
        assert!(order.iter().filter(|(_, verdict)| *verdict == Verdict::Good).count() == 1, "{order:?}");
    });
}

#[test]
fn who_waits_too_long_is_told_that_it_is_busy() {
    let users = users(&[("alice", "first", 4)]);
    let passwords = Passwords::new().expect("random numbers");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let _held = passwords.place(ELSEWHERE).await.expect("a free place");
        assert_eq!(passwords.check(&users, HERE, Some(&header("alice", "first"))).await, Verdict::Busy);
    });
}

/// An unknown name takes the hashing of a known one. A thousandth of it would be no hashing at all, so this is no luck.
#[test]
fn an_unknown_name_costs_a_check() {
    let users = users(&[("alice", "first", 8)]);
    let passwords = Passwords::new().expect("random numbers");
    let took = |name: &str| {
        let start = Instant::now();
        assert_eq!(wait(passwords.check(&users, HERE, Some(&header(name, "guess")))), Verdict::Wrong);
        start.elapsed()
    };
    let (known, unknown) = (took("alice"), took("nobody"));
    assert!(unknown > known / 20, "{unknown:?} for an unknown name, {known:?} for a known one");
    assert_eq!(cost(&users.nobody), Some(8));
}

#[test]
fn an_ipv6_host_is_its_network() {
    let network = |text: &str| network(text.parse().expect("an address")).to_string();
    assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    assert_eq!(network("::ffff:10.0.0.1"), "10.0.0.1");
    assert_eq!(network("10.0.0.1"), "10.0.0.1");
}

proptest! {
    // Whatever stands in the header, it is read or refused; and what was put in comes out.
    #[test]
    fn credentials_come_out_as_they_went_in(name in "[^:]{0,20}", password in ".{0,40}", noise in ".{0,40}") {
        let (read, secret) = credentials(&header(&name, &password)).expect("good credentials");
        prop_assert_eq!((read, secret), (name, password.into_bytes()));
        let _ = credentials(noise.as_bytes());
    }
}
