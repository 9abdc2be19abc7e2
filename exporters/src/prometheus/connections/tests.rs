use super::*;
use proptest::prelude::*;

const HERE: [u8; 4] = [127, 0, 0, 1];

/// Clients in these phases, each a second after the one before.
async fn clients(phases: &[([u8; 4], Phase)]) -> Vec<Client> {
    let mut clients = Vec::new();
    for (address, phase) in phases {
        tokio::time::advance(Duration::from_secs(1)).await;
        let client = Client::new((*address).into());
        client.enter(*phase);
        clients.push(client);
    }
    clients
}

async fn victim(phases: &[([u8; 4], Phase)]) -> Option<usize> {
    least_useful(clients(phases).await.iter())
}

#[tokio::test(start_paused = true)]
async fn who_is_of_the_least_use_goes() {
    use Phase::{Answered, Asking, Idle, Leaving, New, Streaming};
    assert_eq!(victim(&[]).await, None);
    assert_eq!(victim(&[(HERE, Streaming)]).await, None, "streams are counted elsewhere");
    let some = [(HERE, Streaming), (HERE, Asking), (HERE, New), (HERE, Idle), (HERE, Idle), (HERE, Leaving)];
    assert_eq!(victim(&some).await, Some(5), "who is on its way out anyway");
    assert_eq!(victim(&some[..5]).await, Some(3), "the longest idle");
    assert_eq!(victim(&some[..3]).await, Some(1), "an answer before a newcomer, while newcomers are few");
    assert_eq!(victim(&[(HERE, Answered), (HERE, Asking)]).await, Some(0), "the longest answer");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_newcomers_fights_for_half_of_the_places() {
    let flood = |newcomers| -> Vec<_> {
        let asked = vec![(HERE, Phase::Idle); MOST_CLIENTS - newcomers];
        asked.into_iter().chain(vec![(HERE, Phase::New); newcomers]).collect()
    };
    assert_eq!(victim(&flood(MOST_CLIENTS / 2)).await, Some(MOST_CLIENTS / 2), "the oldest newcomer");
    assert_eq!(victim(&flood(MOST_CLIENTS / 2 - 1)).await, Some(0), "the longest idle");
}

#[tokio::test(start_paused = true)]
async fn the_network_with_the_most_connections_gives_one_up() {
    let (greedy, modest) = ([192, 0, 2, 1], [192, 0, 2, 2]);
    let mut phases = vec![(modest, Phase::Idle)];
    phases.extend([(greedy, Phase::Answered); 3]);
    assert_eq!(victim(&phases).await, Some(1));
    // A stream is nobody's burden here.
    phases.extend([(modest, Phase::Streaming); 3]);
    assert_eq!(victim(&phases).await, Some(1));
}

#[test]
fn a_network_is_an_address_or_a_64() {
    let of = |text: &str| network(text.parse().unwrap()).to_string();
    assert_eq!(of("192.0.2.1"), "192.0.2.1");
    assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
    assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
}

#[tokio::test(start_paused = true)]
async fn without_descriptors_some_clients_go_and_places_are_fewer_for_a_while() {
    let mut connections = Connections::new();
    let admit = |connections: &mut Connections| connections.admit(HERE.into(), |_| pending());
    (0..MOST_CLIENTS + 9).for_each(|_| admit(&mut connections));
    assert_eq!(connections.counted(), MOST_CLIENTS);
    connections.cannot_accept(&io::ErrorKind::ConnectionAborted.into()).await;
    assert_eq!(connections.counted(), MOST_CLIENTS, "one that went away is no reason");
    connections.cannot_accept(&io::Error::other("no descriptors")).await;
    (0..9).for_each(|_| admit(&mut connections));
    assert_eq!(connections.counted(), MOST_CLIENTS - SPARE);
    tokio::time::advance(LEAN).await;
    (0..9).for_each(|_| admit(&mut connections));
    assert_eq!(connections.counted(), MOST_CLIENTS);
}

fn phase() -> impl Strategy<Value = Phase> {
    use Phase::{Answered, Asking, Idle, Leaving, New, Streaming};
    prop::sample::select(vec![New, Asking, Answered, Streaming, Idle, Leaving])
}

proptest! {
    /// Whoever goes is no stream, and of a network that nobody has more connections of.
    #[test]
    fn the_victim_is_never_a_stream_nor_of_a_smaller_network(phases in prop::collection::vec((0u8..4, phase()), 0..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let phases: Vec<_> = phases.into_iter().map(|(last, phase)| ([192, 0, 2, last], phase)).collect();
        let counted: Vec<_> = phases.iter().filter(|(_, phase)| *phase != Phase::Streaming).collect();
        match runtime.block_on(victim(&phases)) {
            None => prop_assert!(counted.is_empty()),
            Some(place) => {
                let (address, phase) = phases[place];
                prop_assert_ne!(phase, Phase::Streaming);
                let share = |of| counted.iter().filter(|(address, _)| *address == of).count();
                prop_assert!(counted.iter().all(|(other, _)| share(*other) <= share(address)));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_timer_sends_off_everybody_on_time() {
    const SECOND: Duration = Duration::from_secs(1);
    let start = Instant::now();
    let (mut connections, mut gone) = (Connections::new(), tokio::task::JoinSet::new());
    let mut admit = |connections: &mut Connections, asks: Vec<u64>| {
        let (tell, told) = tokio::sync::oneshot::channel();
        connections.admit(HERE.into(), |client| async move {
            for second in asks {
                sleep_until(start + SECOND * second as u32).await;
                client.asks();
                client.is_answered(false);
                client.sent();
            }
            client.tires().await;
            let _ = tell.send(start.elapsed().as_secs());
        });
        gone.spawn(async { told.await.unwrap() });
    };
    admit(&mut connections, vec![]); // silent: 40
    admit(&mut connections, vec![1, 39]); // 79
    let later = tokio::time::sleep(SECOND * 30);
    tokio::select! {
        () = later => (),
        () = async { loop { connections.watch().await } } => (),
    }
    admit(&mut connections, vec![31]); // 71
    admit(&mut connections, vec![30, 45, 80, 115]); // 155
    let watched = async {
        loop {
            connections.watch().await;
        }
    };
    let all = async {
        let mut ends = Vec::new();
        while let Some(end) = gone.join_next().await {
            ends.push(end.unwrap());
        }
        ends
    };
    tokio::select! {
        ends = all => assert_eq!(ends, [40, 71, 79, 155]),
        () = watched => (),
    }
    connections.watch().await;
    assert!(connections.timer.is_none(), "nobody is there, and nothing wakes us");
}
