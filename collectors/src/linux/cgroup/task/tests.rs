use super::*;
use crate::linux::cgroup::reading::{CPU_NANOSECONDS, Reading};

fn statistics(id: &str, read: u64) -> Statistics {
    let mut reading = Reading::default();
    reading.counters[CPU_NANOSECONDS] = Some(read / 2);
    Statistics { id: id.into(), name: format!("name-{id}"), read, reading, before: None, limits: Vec::new() }
}

fn failure() -> CollectError {
    trouble(Reason::TimedOut, "no answer within 1s")
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_is_not_new_gets_old_and_then_is_no_figure() {
    let (mut state, now) = (State::default(), Instant::now());
    assert!(matches!(state.current(), Ok(None)), "awaited");
    let start = now - 5 * SECOND;
    state.take(Ok(vec![statistics("a", 7)]), start);
    // The endpoint answers, and says the same again and again.
    state.take(Ok(vec![statistics("a", 7)]), now);
    let error = state.current().expect_err("five seconds old");
    assert!(error.reason() == Reason::TimedOut && error.to_string().contains("nothing new of the container name-a"));
    state.take(Ok(vec![statistics("a", 8)]), now);
    assert_eq!(state.current().expect("new").expect("there").len(), 1);
}

#[test]
fn a_question_without_an_answer_is_no_end_but_two_are() {
    let (mut state, now) = (State::default(), Instant::now());
    state.take(Err(failure()), now);
    assert_eq!(state.current().expect_err("nothing yet"), failure());
    state.take(Ok(vec![statistics("a", 7)]), now);
    state.take(Err(failure()), now);
    assert!(state.current().is_ok_and(|all| all.is_some()), "its figures are a moment old");
    state.take(Ok(vec![statistics("a", 8)]), now - 4 * SECOND);
    state.take(Err(failure()), now);
    assert_eq!(state.current().expect_err("too old"), failure());
}

#[test]
fn an_answer_that_leaves_something_unknown_ends_what_was_known() {
    for reason in [Reason::Missing, Reason::Malformed] {
        let mut state = State::default();
        state.take(Ok(vec![statistics("a", 7)]), Instant::now());
        let error = trouble(reason, "nothing of the container a");
        state.take(Err(error.clone()), Instant::now());
        assert_eq!(state.current().expect_err("unknown"), error);
    }
}

#[test]
fn containers_are_chosen_by_name_and_not_by_what_cannot_be_seen() {
    let task = Task { desk: Arc::default() };
    let names = |choice: Neighbour| {
        let (found, _) = task.find(&choice)?;
        Ok::<_, CollectError>(found.iter().map(|one| one.path().to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(names(Neighbour::All), Ok(Vec::new()), "awaited");
    task.desk.lock().take(Ok(vec![statistics("a", 7), statistics("b", 7)]), Instant::now());
    assert_eq!(names(Neighbour::All), Ok(vec!["name-a".to_owned(), "name-b".to_owned()]));
    assert_eq!(names(Neighbour::Name("na*b".into())), Ok(vec!["name-b".to_owned()]));
    assert!(names(Neighbour::Name("c".into())).expect_err("none").to_string().contains("none of the 2"));
    assert!(names(Neighbour::Command("x".into())).expect_err("unseen").to_string().contains("pidMode: task"));
    assert!(task.has(&["a".into(), "b".into()]) && !task.has(&["a".into()]));
    task.desk.lock().take(Ok(Vec::new()), Instant::now());
    assert!(names(Neighbour::All).expect_err("alone").to_string().contains("no other container"));
}

/// Nobody listens at port 9 of loopback: an answer all the same, and a thread that ends.
#[test]
fn a_task_without_an_endpoint_says_so_at_once() {
    let task = Task::start(TaskEndpoint::parse("http://127.0.0.1:9/v4/x").expect("local")).expect("a thread");
    task.wait();
    let error = task.find(&Neighbour::All).expect_err("nobody there");
    assert!(error.to_string().contains(TaskEndpoint::VARIABLE), "{error}");
    let desk = Arc::downgrade(&task.desk);
    drop(task);
    let deadline = Instant::now() + 10 * SECOND;
    while desk.upgrade().is_some() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(desk.upgrade().is_none(), "its thread has ended");
}
