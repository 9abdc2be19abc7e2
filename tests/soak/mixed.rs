//! Two agents in trouble of every kind: one must live through it and take no more memory, one is killed again and
//! again and loses its disk. The ledger and the page hold throughout.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::look;
use crate::stage::Stage;
use crate::support::publishing::Ledger;
use crate::support::random::Random;
use crate::support::wait::wall;
use crate::trouble::{self, MORTAL, SURVIVED, Trouble};
use crate::vitals::Vitals;

/// How long the trouble lasts where nobody says otherwise.
const USUAL: Duration = Duration::from_secs(30);

struct Story {
    name: &'static str,
    troubles: &'static [Trouble],
    /// Whether it is the same process from the start to the end.
    survives: bool,
}

const STORIES: [Story; 2] = [
    Story { name: "survives", troubles: SURVIVED, survives: true },
    Story { name: "mortal", troubles: MORTAL, survives: false },
];

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: expected a whole number")))
}

/// One agent's story; what it was like, as a row of a table.
fn tell(story: &Story, seed: u64, lasts: Duration) -> String {
    let mut stage = Stage::new(story.name, seed, story.survives);
    let (mut vitals, mut befell) = (Vitals::default(), BTreeMap::new());
    stage.look_when_well();
    let long = lasts > 10 * USUAL;
    let longest_pause = Duration::from_secs(if long { 30 } else { 3 });
    let began = Instant::now();
    let mut promtool = began;
    while began.elapsed() < lasts {
        let trouble = story.troubles[stage.random.next() as usize % story.troubles.len()];
        trouble.befall(&mut stage, longest_pause);
        *befell.entry(trouble).or_insert(0u32) += 1;
        thread::sleep(stage.random.duration(Duration::from_millis(50), Duration::from_millis(800)));
        let page = stage.look();
        if story.survives {
            vitals.look(stage.agent.pid());
        }
        if promtool.elapsed() > USUAL / 3 {
            promtool = Instant::now();
            look::promtool(&page);
        }
    }
    trouble::calm(&mut stage);
    look::promtool(&stage.look_when_well());
    let memory = stage.memory();
    let (ledger, _) = stage.settle();
    let Ledger { taken, published, dropped, ambiguous, .. } = ledger;
    assert!(
        !story.survives || dropped == 0,
        "nothing that it lives through costs data: {ledger:?}\n{}",
        stage.agent.log()
    );
    if story.survives {
        let (times, log) = (befell.get(&Trouble::Descriptors).copied().unwrap_or_default(), stage.agent.log());
        assert!(log.matches("cannot accept a connection").count() <= times as usize, "said once each time:\n{log}");
    }
    let requests = stage.double.requests().len();
    let befell: Vec<String> = befell.iter().map(|(trouble, times)| format!("{trouble:?} {times}")).collect();
    let vitals = if story.survives { vitals.judge(long) } else { format!("{} lives", stage.lives) };
    let memory = memory.map_or(String::new(), |memory| format!("; {memory}"));
    format!(
        "| {} | {} | {} | {taken} | {published} | {dropped} | {ambiguous} | {requests} | {} | {vitals}{memory} |",
        story.name,
        lasts.as_secs(),
        befell.join(", "),
        stage.pages
    )
}

#[test]
fn trouble_of_every_kind_costs_nothing_that_the_ledger_does_not_say() {
    let lasts = setting("HOSTGAUGE_SOAK_MINUTES").map_or(USUAL, |minutes| Duration::from_secs(60 * minutes));
    let seed = setting("HOSTGAUGE_SOAK_SEED").unwrap_or(wall().as_nanos() as u64);
    println!("HOSTGAUGE_SOAK_SEED={seed}");
    let mut random = Random(seed);
    let seeds = [random.next(), random.next()];
    let rows: Vec<String> = thread::scope(|scope| {
        // All of a story happens in its thread: what it starts ends with that.
        let told = STORIES.iter().zip(seeds).map(|(story, seed)| scope.spawn(move || tell(story, seed, lasts)));
        let told: Vec<_> = told.collect();
        told.into_iter().map(|story| story.join().expect("what a story asserts")).collect()
    });
    println!(
        "| agent | seconds | trouble | taken | published | dropped | perhaps twice | requests | pages | it took |"
    );
    println!("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |");
    rows.iter().for_each(|row| println!("{row}"));
}
