//! A member beside a coordinator that follows a script.

use super::*;

/// A member of an instance that wants the topic `t`, with a session timeout of 9 s.
struct Walk {
    membership: Membership,
    now: Instant,
    step: Step,
}

fn member() -> Membership {
    let wanted = Wanted {
        group: "g".into(),
        instance: Some("i".into()),
        topics: ["t".into()].into(),
        settings: "ours".into(),
        session_timeout: Duration::from_secs(9),
    };
    Membership::new(wanted, Instant::now())
}

impl Walk {
    fn new() -> Self {
        let (mut membership, now) = (member(), Instant::now());
        let step = membership.next(now);
        Self { membership, now, step }
    }

    /// Lets something happen, and tells the next step and the state.
    fn go(&mut self, event: &str) -> String {
        let (what, argument) = event.split_once(' ').unwrap_or((event, ""));
        let now = self.now;
        let number = || argument.parse::<i16>().expect("a number");
        let member = |leads| {
            let (id, generation, protocol) = ("m".into(), number(), "range".to_owned());
            let skips_assignment = what == "returns";
            Joined::Member { id, generation: i32::from(generation), protocol, leads, skips_assignment }
        };
        let logs = || {
            argument
                .split(' ')
                .filter(|log| !log.is_empty())
                .map(|log| (Arc::from(&log[..1]), log[1..].parse().expect("a number")))
        };
        let leads = || {
            let subscription = Subscription { topics: vec!["t".into()], rack: None }.encode();
            let joined =
                |id: &str| JoinedMember { id: id.into(), instance: None, subscription: subscription.clone() };
            Some(vec![joined("m"), joined("n")])
        };
        let answer = match what {
            "id" => Answer::Joined(Ok(Joined::WithId(argument.into()))),
            "follows" => Answer::Joined(Ok(member(None))),
            "leads" | "returns" => Answer::Joined(Ok(member(leads()))),
            "counts" => Answer::Counted(Ok(logs().collect())),
            "logs" => Answer::Synced(Ok(Assignment(logs().collect()).encode())),
            "alive" => Answer::Beaten(Ok(())),
            "committed" => Answer::Committed,
            "left" => Answer::Left,
            "error" | "final" => {
                let error = CommandError::new(Fault::Transient, number().into(), "failed");
                let failure = Failure { code: number(), is_final: what == "final", error };
                match &self.step {
                    Step::Join { .. } => Answer::Joined(Err(failure)),
                    Step::Count { .. } => Answer::Counted(Err(failure)),
                    Step::Sync { .. } => Answer::Synced(Err(failure)),
                    Step::Heartbeat { .. } => Answer::Beaten(Err(failure)),
                    step => panic!("{step:?} does not fail"),
                }
            }
            _ => {
                match what {
                    "later" => self.now += Duration::from_millis(argument.parse().expect("a time")),
                    "subscribe" => self.membership.subscribe(now, [argument.into()].into(), "ours".into()),
                    "asked" => self.membership.confirm(now),
                    "leave" => self.membership.leave(now),
                    _ => panic!("unknown event {event}"),
                }
                Answer::Waited
            }
        };
        self.membership.answer(self.now, answer);
        self.step = self.membership.next(self.now);
        format!("{}, {}", self.step(), self.state())
    }

    fn step(&self) -> String {
        match &self.step {
            Step::Join { member, .. } => format!("join {}", member.id),
            Step::Count { .. } => "count".to_owned(),
            Step::Sync { member, assignments, .. } => {
                let logs = |(id, of): &(Arc<str>, Bytes)| {
                    format!(" {id}={}", Assignment::decode(of.clone()).expect("an assignment").0.len())
                };
                let assigned: String = assignments.iter().map(logs).collect();
                format!("sync {}{assigned}", member.generation)
            }
            Step::Heartbeat { member, .. } => format!("beat {}", member.generation),
            Step::Commit { member, logs, .. } => {
                format!("commit {} {}", member.generation, logs.as_ref().map_or(0, |logs| logs.len()))
            }
            Step::Leave { member, .. } => format!("leave {}", member.id),
            Step::Wait(until) => format!("wait {}", until.duration_since(self.now).as_millis()),
            Step::End => "end".to_owned(),
        }
    }

    fn state(&self) -> String {
        match self.membership.state() {
            MemberState::Joining(None) => "joining".to_owned(),
            MemberState::Joining(Some(_)) => "failing".to_owned(),
            MemberState::Assigned(number, logs) => format!("has {} in {number}", logs.len()),
            MemberState::Ended(Ended::Refused(error)) => error.message.clone(),
            MemberState::Ended(ended) => format!("{ended:?}"),
        }
    }
}

#[track_caller]
fn check(script: &[(&str, &str)]) {
    let mut walk = Walk::new();
    for (at, (event, want)) in script.iter().enumerate() {
        assert_eq!(walk.go(event), *want, "event {at}: {event}");
    }
}

const MEMBER: [(&str, &str); 2] = [("follows 1", "sync 1, joining"), ("logs t0 t1", "wait 3000, has 2 in 1")];

/// As [`check`], from a member on that has two logs.
#[track_caller]
fn check_member(script: &[(&str, &str)]) {
    check(&[&MEMBER, script].concat());
}

#[test]
fn member_joins_stays_and_joins_again_with_its_group() {
    check(&[("id m", "join m, joining")]);
    check_member(&[
        ("later 3000", "beat 1, has 2 in 1"),
        ("alive", "wait 3000, has 2 in 1"),
        ("later 3000", "beat 1, has 2 in 1"),
        ("error 27", "commit 1 2, joining"),
        ("committed", "join m, joining"),
        ("follows 2", "sync 2, joining"),
        ("error 27", "join m, joining"),
        ("follows 3", "sync 3, joining"),
        // Others can have had them in generation 2.
        ("logs", "wait 3000, has 0 in 3"),
    ]);
    check_member(&[
        ("later 3000", "beat 1, has 2 in 1"),
        ("error 27", "commit 1 2, joining"),
        ("committed", "join m, joining"),
        ("follows 2", "sync 2, joining"),
        ("logs t0", "wait 3000, has 1 in 2"),
    ]);
}

#[test]
fn leader_assigns_and_watches_partitions() {
    check(&[
        ("leads 1", "count, joining"),
        ("error 15", "wait 250, failing"),
        ("later 250", "join m, failing"),
        ("leads 2", "count, failing"),
        ("counts t3", "sync 2 m=2 n=1, failing"),
        ("logs t0 t1", "wait 3000, has 2 in 1"),
        ("later 3000", "beat 2, has 2 in 1"),
        ("alive", "wait 3000, has 2 in 1"),
    ]);
    for (joined, counts, again, want) in [
        ("leads 1", "counts t3", "counts t3", "wait 3000, has 2 in 1"),
        ("leads 1", "counts t3", "counts t4", "commit 1 2, joining"),
        // Partitions can have been added before a leader came back, whose group goes on with what it had.
        ("returns 1", "counts t4", "counts t4", "commit 1 2, joining"),
    ] {
        let mut walk = Walk::new();
        [joined, counts, "logs t0 t1"].into_iter().for_each(|event| drop(walk.go(event)));
        // Until it looks for partitions.
        for _ in 0..4 {
            walk.go("later 3000");
            walk.go("alive");
        }
        walk.go("later 3000");
        assert_eq!(walk.go("alive"), "count, has 2 in 1", "{joined} {counts}");
        assert_eq!(walk.go(again), want, "{joined} {counts} {again}");
    }
}

#[test]
fn errors_have_their_ends() {
    let refused =
        "members of group g share by none of the protocols that this member offers (range, roundrobin)";
    for (event, want) in [
        ("error 25", "join , joining"),
        ("error 22", "join m, joining"),
        ("error 82", "end, Fenced"),
        ("final 30", "end, failed"),
        ("error 23", &format!("end, {refused}")),
        ("error 15", "wait 250, has 2 in 1"),
    ] {
        check_member(&[("later 3000", "beat 1, has 2 in 1"), (event, want)]);
    }
    for (event, want) in [
        ("error 25", "join , joining"),
        ("error 82", "end, Fenced"),
        ("final 30", "end, failed"),
        ("error 23", &format!("end, {refused}")),
        ("error 15", "wait 250, failing"),
    ] {
        check(&[(event, want)]);
        check(&[("follows 1", "sync 1, joining"), (event, want)]);
    }
}

/// The coordinator may have given them to others.
#[test]
fn logs_are_given_up_after_a_session_without_an_answer() {
    check_member(&[
        ("later 3000", "beat 1, has 2 in 1"),
        // The session began with the last answer.
        ("later 5750", "beat 1, has 2 in 1"),
        ("error 13", "wait 250, has 2 in 1"),
        ("later 250", "join m, failing"),
    ]);
    check_member(&[
        ("later 3000", "beat 1, has 2 in 1"),
        ("alive", "wait 3000, has 2 in 1"),
        // As after a suspended process.
        ("later 60000", "join m, joining"),
        ("error 13", "wait 250, failing"),
        ("later 250", "join m, failing"),
        ("error 13", "wait 500, failing"),
    ]);
}

#[test]
fn wishes_have_their_effect_in_every_phase() {
    check(&[("subscribe u", "join , joining"), ("leave", "leave , joining"), ("left", "end, Left")]);
    check(&[("follows 1", "sync 1, joining"), ("subscribe u", "join m, joining")]);
    check(&[("follows 1", "sync 1, joining"), ("leave", "leave m, joining")]);
    check_member(&[
        ("subscribe t", "wait 3000, has 2 in 1"),
        ("subscribe u", "commit 1 2, joining"),
        ("leave", "commit 1 2, joining"),
        ("committed", "leave m, joining"),
        ("left", "end, Left"),
    ]);
    check_member(&[("leave", "commit 1 2, joining"), ("subscribe u", "commit 1 2, joining")]);
    for answer in [("error 15", "wait 250, has 2 in 1"), ("alive", "wait 3000, has 2 in 1")] {
        check_member(&[("later 1000", "wait 2000, has 2 in 1"), ("asked", "beat 1, has 2 in 1"), answer]);
    }
    check(&[(
        "subscribe .",
        "end, INVALID_TOPIC_EXCEPTION: topic name `.`: expected 1 to 249 characters of a-z A-Z 0-9 . _ -, other than . and ..",
    )]);
    let mut unsent = member();
    unsent.leave(Instant::now());
    assert_eq!(unsent.state(), &MemberState::Ended(Ended::Left));
}

/// A coordinator that lets an instance come back gives it the logs of its former subscription (KIP-345).
#[test]
fn logs_of_a_former_subscription_are_not_read() {
    let mut walk = Walk::new();
    let subscription = |walk: &Walk| match &walk.step {
        Step::Join { subscription, .. } => subscription.clone(),
        step => panic!("{step:?}"),
    };
    let first = subscription(&walk);
    walk.go("follows 1");
    assert_eq!(walk.go("logs t0 u0"), "join m, joining");
    assert_ne!(subscription(&walk), first, "the group rebalances for another one");
    walk.go("follows 1");
    assert_eq!(walk.go("logs t0 u0"), "wait 3000, has 1 in 1", "once");
}
