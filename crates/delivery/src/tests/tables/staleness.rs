//! Clients and tables that were behind their logs.

use super::*;

#[tokio::test(start_paused = true)]
async fn client_that_is_behind_for_too_long_begins_anew() {
    let logs = logs(20);
    let mut holder = Holder::open(&logs.cluster()).await;
    holder.settle().await;
    logs.append(0, 20);
    advance(BOUNDS.table_away * 2).await;
    holder.settle_as_replay(&logs, logs::PARTITIONS, 2).await;
    // One at the end of its log is not behind, however long nothing is written.
    for _ in 0..1000 {
        assert_eq!(holder.soon().await, None);
        advance(BOUNDS.table_away / 100).await;
    }
    logs.append(0, 1);
    holder.settle_as_replay(&logs, logs::PARTITIONS, 2).await;
}

/// The subscription of a client that was away for so many milliseconds, and goes on from an offset of this topic.
fn resumed(next: i64, topic_id: Option<u128>, away: Option<u64>) -> SubscribeCommand {
    let mut command = command();
    (command.sources[0].next, command.sources[0].topic_id) = (vec![(0, next)], topic_id);
    command.table = Some(TableCommand { away: away.map(Duration::from_millis) });
    command
}

#[tokio::test(start_paused = true)]
async fn client_that_was_away_goes_on_only_if_its_log_has_each_removal() {
    let logs = logs(20);
    let cluster = logs.cluster();
    let (id, minute, unknown) = (Some(1), Some(60_000), CommandError::new(Fault::Rejected, 29, "no right"));
    for (away, topic_id, life, refusal, goes_on) in [
        (Some(60_000), id, minute, None, true),
        (Some(60_001), id, minute, None, false),
        // It is another time now.
        (Some(60_000), id, Some(100), None, false),
        (Some(3_600_000), id, None, None, true),
        (Some(3_600_001), id, None, None, false),
        (None, id, None, None, false),
        (Some(0), None, None, None, false),
        (Some(0), Some(2), None, None, false),
        (Some(0), id, minute, Some(unknown), false),
    ] {
        logs.change(|state| {
            (state.tombstone_life, state.life_refusal) = (life.map(Duration::from_millis), refusal);
        });
        let told = Holder::of(&cluster, resumed(5, topic_id, away)).await.soon().await;
        let is_as_told = matches!(told, Some(Item::Subscribed(_))) == goes_on
            && matches!(told, Some(Item::Snapshot(_))) != goes_on;
        assert!(is_as_told, "{away:?} ms, id {topic_id:?}, life {life:?} ms: {told:?}");
    }
}

/// Logs whose topic keeps removals for 5 s.
fn forgetful() -> Logs {
    let logs = logs(20);
    logs.change(|state| state.tombstone_life = Some(Duration::from_secs(5)));
    logs
}

/// Writes records. After so long, their log has only the newest of each key, and removals if it `keeps` them.
async fn write_and_compact(logs: &Logs, seconds: u64, keeps: bool) {
    logs.append(0, 40);
    advance(Duration::from_secs(seconds)).await;
    let newest: BTreeSet<i64> = replay(logs, 1).into_values().collect();
    let stays = |offset: i64| newest.contains(&offset) || keeps && is_empty(offset);
    let compacted = (0..logs.end(0)).filter(|offset| !stays(*offset)).collect();
    logs.change(|state| state.compacted = compacted);
}

#[tokio::test(start_paused = true)]
async fn client_that_was_behind_goes_on_only_if_its_log_has_each_removal() {
    let (passing, refused) = ((Fault::Transient, 7, "no answer"), (Fault::Rejected, 29, "no right"));
    for (settles, seconds, keeps, error, snapshots) in [
        (true, 4, true, None, 1),
        (true, 7, false, None, 2),
        (false, 7, false, None, 2),
        (true, 4, true, Some(passing), 2),
        (true, 59, true, Some(refused), 1),
    ] {
        let logs = forgetful();
        let mut holder = Holder::open(&logs.cluster()).await;
        while holder.snapshots == 0 {
            let item = holder.soon().await.unwrap();
            holder.take(item);
        }
        if settles {
            holder.settle().await;
        }
        let refusal = error.map(|(fault, code, message)| CommandError::new(fault, code, message));
        logs.change(|state| state.life_refusal = refusal);
        // It takes nothing for a while.
        write_and_compact(&logs, seconds, keeps).await;
        holder.settle_as_replay(&logs, 1, snapshots).await;
    }
}

#[tokio::test(start_paused = true)]
async fn absence_counts_to_the_time_behind() {
    let logs = forgetful();
    let opened = Holder::of(&logs.cluster(), resumed(20, Some(1), Some(4_000))).await;
    let mut holder = Holder { held: replay(&logs, 1), ..opened };
    write_and_compact(&logs, 3, false).await;
    assert!(matches!(holder.soon().await, Some(Item::Subscribed(_))));
    holder.settle_as_replay(&logs, 1, 1).await;
}

/// Removals are forgotten by the time that was set when they were written.
#[tokio::test(start_paused = true)]
async fn client_that_was_away_while_removals_were_kept_for_less_begins_anew() {
    for (is_raised, snapshots) in [(false, 0), (true, 1)] {
        let logs = forgetful();
        let cluster = logs.cluster();
        Holder::open(&cluster).await.settle().await;
        let (held, command) = (replay(&logs, 1), resumed(logs.end(0), Some(1), Some(3_000)));
        write_and_compact(&logs, 3, !is_raised).await;
        if is_raised {
            logs.change(|state| state.tombstone_life = Some(Duration::from_secs(3600)));
        }
        let opened = Holder::of(&cluster, command).await;
        Holder { held, ..opened }.settle_as_replay(&logs, 1, snapshots).await;
    }
}

/// Records in memory can be older than the log, which has forgotten removals since.
#[tokio::test(start_paused = true)]
async fn table_begins_with_records_from_memory_only_if_their_removals_are_kept() {
    let logs = logs(20);
    let cluster = logs.cluster();
    // Nobody uses them for ten minutes in between, and the first two have not known it for long enough.
    for (minutes, forgotten) in [(60, 4), (60, 8), (60, 8), (14, 12)] {
        logs.change(|state| state.tombstone_life = Some(Duration::from_secs(60 * minutes)));
        Holder::open(&cluster).await.settle().await;
        logs.change(|state| assert_eq!(state.forgotten, forgotten, "{minutes}"));
        while cluster.tables_in_memory() > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn table_that_was_behind_its_log_has_no_key_that_is_gone() {
    let logs = forgetful();
    let cluster = logs.cluster();
    Holder::open(&cluster).await.settle().await;
    logs.break_with(0, CommandError::new(Fault::Transient, 6, "no leader"));
    write_and_compact(&logs, 7, false).await;
    logs.mend();
    Holder::open(&cluster).await.settle_as_replay(&logs, 1, 1).await;
}
