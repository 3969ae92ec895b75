//! What slots share: accounts and their cold balances, mailboxes, leases.

use super::subject::{Case, account, batch, blobs, same};
use crate::store::{
    AccountRow, AccountSetup, Commit, Directory, Lease, Letter, Move, MoveChange, MoveOutcome, MoveResult, Renewal, SlotNo,
};
use bytes::Bytes;
use futures::future::{join_all, poll_immediate};
use std::time::Duration;

type Result = std::result::Result<(), String>;

/// Long enough for a few calls of a slow store, and short enough to wait for.
const LEASE_MS: u32 = 400;

fn lease(holder: &str, ms: u32) -> Lease {
    Lease { holder: holder.into(), address: Some(format!("{holder}:1").into()), ms }
}

fn setup(name: &str, credit_limit: u64, slots: &[SlotNo]) -> std::result::Result<AccountSetup, String> {
    Ok(AccountSetup { id: account(name)?, slots: slots.to_vec(), key: [7; 16], credit_limit })
}

fn move_of(name: &str, slot: SlotNo, n: u64, change: MoveChange) -> std::result::Result<Move, String> {
    Ok(Move { account: account(name)?, slot, n, change })
}

const fn everything() -> MoveChange {
    MoveChange::Draw { needed: 0, least: 0, share: 1 }
}

const fn exactly(amount: i128) -> MoveChange {
    MoveChange::Draw { needed: amount, least: amount, share: u32::MAX }
}

impl Case<'_> {
    async fn set_up(&self, setup: &AccountSetup) -> std::result::Result<AccountRow, String> {
        self.store.set_up(setup).await.map_err(|error| format!("setting up {} failed: {error}", setup.id))
    }

    /// Moves until the outcome is known.
    async fn moved(&self, request: &Move) -> MoveOutcome {
        loop {
            match self.store.make_move(request).await {
                MoveOutcome::Unknown { .. } => {}
                outcome => return outcome,
            }
        }
    }

    async fn done(&self, request: &Move) -> std::result::Result<(MoveResult, i128), String> {
        match self.moved(request).await {
            MoveOutcome::Done { result, cold } => Ok((result, cold)),
            other => Err(format!("move {} of slot {} should be done, but is answered {other:?}", request.n, request.slot)),
        }
    }

    async fn directory(&self) -> std::result::Result<Directory, String> {
        self.store.directory().await.map_err(|error| format!("there is no directory: {error}"))
    }

    async fn row(&self, name: &str) -> std::result::Result<AccountRow, String> {
        let id = account(name)?;
        let found = self.directory().await?.accounts.into_iter().find(|(other, _)| *other == id);
        found.map(|(_, row)| row).ok_or_else(|| format!("the directory has no account {name}"))
    }

    async fn open_as(&self, slot: &str, lease: &Lease) -> std::result::Result<crate::store::OpenedSlot, crate::store::StoreError> {
        self.store.open(&slot.into(), lease).await
    }

    async fn mail(&self, slot: &str, letter: &'static str) -> Result {
        self.store.mail(&slot.into(), Bytes::from_static(letter.as_bytes())).await.map_err(|error| format!("mail failed: {error}"))
    }
}

pub(super) async fn setups_can_be_repeated(case: &mut Case<'_>) -> Result {
    let first = case.set_up(&setup("ann", 10, &[3, 1])?).await?;
    same("a new row", &first, &AccountRow::new(&setup("ann", 10, &[3, 1])?))?;
    same("the row again", &case.set_up(&setup("ann", 10, &[3, 1])?).await?, &first)?;
    // Slots and key are the first call's for ever.
    let other = AccountSetup { key: [9; 16], ..setup("ann", 25, &[4])? };
    let expected = AccountRow { credit_limit: 25, ..first };
    same("the row with another limit", &case.set_up(&other).await?, &expected)?;
    same("the row in the directory", &case.row("ann").await?, &expected)?;
    case.set_up(&setup("bob", 0, &[1])?).await?;
    case.crash().await?;
    same("the row after a crash", &case.row("ann").await?, &expected)?;
    same("accounts after a crash", &case.directory().await?.accounts.len(), &2)
}

pub(super) async fn draws_take_what_is_there_and_no_more(case: &mut Case<'_>) -> Result {
    same("a move of nobody's", &case.moved(&move_of("ann", 1, 1, everything())?).await, &MoveOutcome::NoAccount)?;
    let big = 1i128 << 90;
    let amounts = [0, 1, (1 << 53) - 1, (1 << 53) + 1, 100_000_000_000_000_000, (1 << 63) - 1, (1 << 63) + 1, i128::from(u64::MAX), big];
    case.set_up(&setup("ann", 0, &[1])?).await?;
    let mut n = 0;
    for amount in amounts {
        let mut next = |change| {
            n += 1;
            move_of("ann", 1, n, change)
        };
        let (_, cold) = case.done(&next(MoveChange::Give { amount })?).await?;
        same("what is cold after it was given", &cold, &amount)?;
        let (result, cold) = case.done(&next(exactly(amount + 1))?).await?;
        same("a draw of one too many", &(result, cold), &(MoveResult { moved: 0, enough: false }, amount))?;
        let (result, cold) = case.done(&next(exactly(amount))?).await?;
        same("a draw of all, to the unit", &(result, cold), &(MoveResult { moved: amount, enough: true }, 0))?;
    }
    // The credit limit lowers the floor; a share is taken if it is more than the least; what is short is told.
    case.set_up(&setup("bob", 1_000, &[1, 2])?).await?;
    let (result, cold) = case.done(&move_of("bob", 1, 1, MoveChange::Draw { needed: 400, least: 100, share: 4 })?).await?;
    same("a quarter of 1,000", &(result, cold), &(MoveResult { moved: 250, enough: true }, -250))?;
    let (result, _) = case.done(&move_of("bob", 2, 1, MoveChange::Draw { needed: 751, least: 1, share: 1 })?).await?;
    same("a draw that needs more than there is", &result, &MoveResult { moved: 0, enough: false })?;
    let (result, cold) = case.done(&move_of("bob", 2, 2, MoveChange::Draw { needed: 750, least: 600, share: 4 })?).await?;
    same("the least", &(result, cold), &(MoveResult { moved: 600, enough: true }, -850))?;
    // A settlement's debt goes below the floor.
    let (_, cold) = case.done(&move_of("bob", 2, 3, MoveChange::Give { amount: -500 })?).await?;
    same("what is cold", &cold, &-1_350)?;
    let (result, _) = case.done(&move_of("bob", 1, 2, everything())?).await?;
    same("a draw of everything when there is nothing", &result.moved, &0)?;
    let (result, cold) = case.done(&move_of("bob", 1, 3, MoveChange::Close)?).await?;
    same("what is taken at the end", &(result.moved, cold), &(-1_350, 0))?;
    same("whether it is closed", &case.row("bob").await?.closed, &true)?;
    // Its credit limit is nobody's any more.
    let (result, cold) = case.done(&move_of("bob", 2, 4, MoveChange::Draw { needed: 1, least: 1, share: 1 })?).await?;
    same("a draw from an account that is closed", &(result, cold), &(MoveResult { moved: 0, enough: false }, 0))
}

/// The number of a move says whether it was made.
pub(super) async fn moves_can_be_repeated(case: &mut Case<'_>) -> Result {
    case.set_up(&setup("ann", 100, &[1, 2])?).await?;
    let first = move_of("ann", 1, 1, exactly(60))?;
    let drawn = case.done(&first).await?.0;
    same("the draw", &drawn, &MoveResult { moved: 60, enough: true })?;
    let (of_other, cold) = case.done(&move_of("ann", 2, 1, exactly(30))?).await?;
    same("the draw of another slot", &(of_other.moved, cold), &(30, -90))?;
    for _ in 0..3 {
        // Whatever it says now: the number was used.
        let again = Move { change: MoveChange::Give { amount: 1_000 }, ..first.clone() };
        same("the draw again", &case.done(&again).await?, &(drawn, -90))?;
        case.crash().await?;
    }
    same("two numbers later", &case.moved(&move_of("ann", 1, 3, everything())?).await, &MoveOutcome::Gap { last: 1 })?;
    same("number 0", &case.moved(&move_of("ann", 1, 0, everything())?).await, &MoveOutcome::Stale { last: 1 })?;
    case.done(&move_of("ann", 1, 2, MoveChange::Give { amount: 60 })?).await?;
    same("an older number", &case.moved(&first).await, &MoveOutcome::Stale { last: 2 })?;
    same("the first of a third slot", &case.moved(&move_of("ann", 9, 2, everything())?).await, &MoveOutcome::Gap { last: 0 })?;
    let row = case.row("ann").await?;
    same("what is cold at the end", &row.cold, &-30)?;
    same("cold and drawn together", &row.difference(), &0)
}

/// All at once: together they draw what there is, to the last part that divides it.
pub(super) async fn slots_draw_together_what_there_is(case: &mut Case<'_>) -> Result {
    case.set_up(&setup("ann", 0, &[1, 2, 3, 4])?).await?;
    case.done(&move_of("ann", 100, 1, MoveChange::Give { amount: 1_003 })?).await?;
    let mut drawn = 0;
    for n in 1..=40 {
        let moves = (1..=8).map(|slot| move_of("ann", slot, n, exactly(7))).collect::<std::result::Result<Vec<_>, _>>()?;
        for result in join_all(moves.iter().map(|request| case.done(request))).await {
            drawn += result?.0.moved;
        }
    }
    same("what was drawn of 1,003 in parts of 7", &drawn, &1_001)?;
    same("what is left", &case.row("ann").await?.cold, &2)
}

/// A move that was answered is there after the worst; one that wasn't is there or not, and can be made again.
pub(super) async fn moves_survive_crash(case: &mut Case<'_>) -> Result {
    case.set_up(&setup("ann", 0, &[1])?).await?;
    let epoch = case.open("a").await?.epoch;
    for n in 1..=8 {
        let given = case.done(&move_of("ann", 1, n, MoveChange::Give { amount: 10 })?).await?;
        same("what is cold", &given.1, &(i128::from(n) * 10))?;
        case.crash().await?;
        same("what is cold after a crash", &case.row("ann").await?.cold, &(i128::from(n) * 10))?;
    }
    for n in 9..=16 {
        // With a batch on its way beside it.
        let next = move_of("ann", 1, n, MoveChange::Give { amount: 10 })?;
        let _ = poll_immediate(futures::future::join(case.store.make_move(&next), case.store.commit(batch("a", epoch, n - 8)))).await;
        case.crash().await?;
        same("what is cold, if it is made again", &case.done(&next).await?.1, &(i128::from(n) * 10))?;
        case.durable(&batch("a", epoch, n - 8)).await?;
    }
    same("cold and drawn together", &case.row("ann").await?.difference(), &0)
}

pub(super) async fn letters_wait_until_they_are_read(case: &mut Case<'_>) -> Result {
    if case.store.mail(&"a".into(), Bytes::from_static(b"x")).await.is_ok() {
        return Err("a slot that nobody ever opened took a letter".to_owned());
    }
    let epoch = case.open("a").await?.epoch;
    case.open("b").await?;
    same("the mail of a slot that got none", &case.open("a").await?.mail, &Vec::new())?;
    for letter in ["one", "two", "three"] {
        case.mail("a", letter).await?;
    }
    let contents = |mail: &[Letter]| mail.iter().map(|letter| String::from_utf8_lossy(&letter.content).into_owned()).collect::<Vec<_>>();
    let opened = case.open("a").await?;
    same("the mail", &contents(&opened.mail), &["one", "two", "three"].map(str::to_owned).to_vec())?;
    let second = opened.mail.get(1).map_or(0, |letter| letter.no);
    // A batch that isn't taken reads nothing.
    let read = |epoch, seq| Commit { mail_read: Some(second), ..batch("a", epoch, seq) };
    let _ = case.commit(&read(epoch, 1)).await?;
    let _ = case.commit(&read(opened.epoch, 2)).await?;
    same("the mail after batches that weren't taken", &case.open("a").await?.mail.len(), &3)?;
    let opened = case.open("a").await?;
    case.durable(&read(opened.epoch, 1)).await?;
    case.crash().await?;
    let opened = case.open("a").await?;
    same("the mail after two were read", &contents(&opened.mail), &vec!["three".to_owned()])?;
    let third = opened.mail.first().map_or(0, |letter| letter.no);
    case.durable(&Commit { mail_read: Some(third), ..batch("a", opened.epoch, 2) }).await?;
    case.crash().await?;
    case.mail("a", "four").await?;
    let opened = case.open("a").await?;
    same("the mail", &contents(&opened.mail), &vec!["four".to_owned()])?;
    let fourth = opened.mail.first().map_or(0, |letter| letter.no);
    if fourth <= third {
        return Err(format!("letter {fourth} came after letter {third}"));
    }
    same("the mail of another slot", &case.open("b").await?.mail, &Vec::new())?;
    same("the log, which has no letters", &case.open("a").await?.log, &blobs("a", 1, 2))
}

pub(super) async fn a_lease_keeps_others_out(case: &mut Case<'_>) -> Result {
    let (ann, bob) = (lease("ann", LEASE_MS), lease("bob", LEASE_MS));
    let opened = case.open_as("a", &ann).await.map_err(|error| error.to_string())?;
    match case.open_as("a", &bob).await {
        Err(error) if error.held_by.as_ref().is_some_and(|(holder, left)| **holder == *ann.holder && *left <= LEASE_MS) => {}
        other => return Err(format!("another holder should be told whose it is, and is told {other:?}")),
    }
    let entry = case.directory().await?.slots.into_iter().find(|slot| &*slot.name == "a");
    let shown = entry.as_ref().and_then(|slot| slot.lease.as_ref()).map(|lease| (lease.holder.clone(), lease.address.clone()));
    same("the lease in the directory", &shown, &Some((ann.holder.clone(), ann.address.clone())))?;
    same("the epoch, which an opening that was refused leaves", &entry.map(|slot| slot.epoch), &Some(opened.epoch))?;
    case.durable(&batch("a", opened.epoch, 1)).await?;
    let again = case.open_as("a", &ann).await.map_err(|error| format!("the same holder can't open it: {error}"))?;
    case.durable(&batch("a", again.epoch, 2)).await?;
    case.open_as("b", &bob).await.map(|_| ()).map_err(|error| format!("another slot can't be opened: {error}"))
}

pub(super) async fn a_lease_ends_unless_it_is_renewed(case: &mut Case<'_>) -> Result {
    let (ann, bob) = (lease("ann", LEASE_MS), lease("bob", LEASE_MS));
    let slot = "a".into();
    let first = case.open_as("a", &ann).await.map_err(|error| error.to_string())?;
    for _ in 0..3 {
        case.pass(Duration::from_millis(u64::from(LEASE_MS) / 2)).await;
        same("the renewal", &case.store.renew(&slot, first.epoch, &ann).await, &Renewal::Kept)?;
    }
    if case.open_as("a", &bob).await.is_ok() {
        return Err("a lease that was renewed has ended".to_owned());
    }
    case.pass(Duration::from_millis(u64::from(LEASE_MS) + 50)).await;
    // It has ended, but nobody has taken the slot: the epoch is what counts.
    case.durable(&batch("a", first.epoch, 1)).await?;
    let second = case.open_as("a", &bob).await.map_err(|error| format!("the lease has ended, but: {error}"))?;
    same("what the second holder finds", &second.log, &blobs("a", 1, 1))?;
    same("the renewal by the first", &case.store.renew(&slot, first.epoch, &ann).await, &Renewal::Fenced { epoch: second.epoch })?;
    if case.open_as("a", &ann).await.is_ok() {
        return Err("a renewal under an old epoch has ended the lease of the new holder".to_owned());
    }
    case.durable(&batch("a", second.epoch, 2)).await?;
    let given_up = Lease { ms: 0, ..bob };
    same("the renewal for no time", &case.store.renew(&slot, second.epoch, &given_up).await, &Renewal::Kept)?;
    case.open_as("a", &ann).await.map(|_| ()).map_err(|error| format!("the lease was given up, but: {error}"))
}

pub(super) async fn balances_are_each_slots_own(case: &mut Case<'_>) -> Result {
    let (ann, bob) = (account("ann")?, account("bob")?);
    let (a, b) = (case.open("a").await?.epoch, case.open("b").await?.epoch);
    let with = |slot, epoch, seq, values: &[(&crate::AccountId, Option<i128>)]| Commit {
        balances: values.iter().map(|(id, value)| ((*id).clone(), *value)).collect(),
        ..batch(slot, epoch, seq)
    };
    case.durable(&with("a", a, 1, &[(&ann, Some(1)), (&bob, Some(2))])).await?;
    case.durable(&with("b", b, 1, &[(&ann, Some(30))])).await?;
    case.durable(&with("a", a, 2, &[(&bob, None)])).await?;
    same("the balances of the first", &case.picture("a").await?.balances, &vec![(ann.clone(), 1)])?;
    same("the balances of the second", &case.picture("b").await?.balances, &vec![(ann.clone(), 30)])?;
    case.durable(&Commit { cut_below: Some(2), ..with("b", b, 2, &[(&bob, Some(4))]) }).await?;
    case.crash().await?;
    let all = vec![(ann.clone(), "a".into(), 1), (ann, "b".into(), 30), (bob, "b".into(), 4)];
    same("all balances", &case.directory().await?.balances, &all)
}
