use super::*;
use crate::sample::Records;
use crate::tree::leaf_hash;

fn read(beginning: Beginning, entries: &[Vec<u8>]) -> Result<Told, (u64, Break)> {
    let mut chains = Chains { beginning, ..Chains::default() };
    for (index, entry) in (0..).zip(entries) {
        chains.push(index, entry, &leaf_hash(entry)).map_err(|cause| (index, cause))?;
    }
    Ok(chains.take_told())
}

#[test]
fn a_record_left_out_added_twice_or_exchanged_breaks_its_shards_chain_there() {
    let good = Records::default().take(40);
    assert_eq!(read(Beginning::Whole, &good).map(|told| told.records), Ok(40));
    // Shards take turns by three.
    for place in 0..37 {
        let mut without = good.clone();
        without.remove(place);
        let (index, cause) = read(Beginning::Whole, &without).unwrap_err();
        let shard = (place % 3) as u16;
        let expected = if place < 3 { Break::Beginning { shard } } else { Break::Predecessor { shard } };
        assert_eq!((index, cause), (place as u64 + 2, expected), "without {place}");
        let mut twice = good.clone();
        twice.insert(place + 1, good[place].clone());
        assert_eq!(read(Beginning::Whole, &twice), Err((place as u64 + 1, Break::Predecessor { shard })));
        let mut swapped = good.clone();
        swapped.swap(place, place + 3);
        assert_eq!(read(Beginning::Whole, &swapped).unwrap_err().0, place as u64, "{place} swapped");
    }
}

#[test]
fn a_number_that_does_not_follow_breaks_the_chain() {
    let first = Records::default().take(1).remove(0);
    let hash: String = leaf_hash(&first).iter().map(|byte| format!("{byte:02x}")).collect();
    for seq in [0, 2, 3] {
        let next = format!("{{\"prev\":\"{hash}\",\"seq\":{seq},\"shard\":0,\"ts\":1,\"v\":2}}").into_bytes();
        let expected = Break::Gap { shard: 0, after: 0, seq };
        assert_eq!(read(Beginning::Whole, &[first.clone(), next]), Err((1, expected)));
    }
    let upper = format!("{{\"prev\":\"{}\",\"seq\":1,\"shard\":0,\"ts\":1,\"v\":2}}", hash.to_uppercase());
    let expected = Err((1, Break::Predecessor { shard: 0 }));
    assert_eq!(read(Beginning::Whole, &[first.clone(), upper.into_bytes()]), expected);
    let broken = Err((1, Break::NotARecord(NotARecord::Form)));
    assert_eq!(read(Beginning::Whole, &[first, b"{}".to_vec()]), broken);
}

#[test]
fn what_continues_another_log_may_begin_anywhere_and_a_clock_set_back_is_told() {
    let good = Records::default().take(30);
    assert_eq!(read(Beginning::Whole, &good[9..]), Err((0, Break::Beginning { shard: 0 })));
    let told = read(Beginning::Cut, &good[9..]).unwrap();
    assert_eq!(told, Told { records: 21, ..Told::default() });
    let mut records = Records::default();
    let mut entries = records.take(9);
    records.at = 5;
    entries.extend(records.take(3));
    entries.push(b"not a record".to_vec());
    let told = read(Beginning::Whole, &entries).unwrap();
    assert_eq!(told, Told { records: 12, others: 1, back_in_time: Some(9), pruned: 0, lost: 0 });
}
