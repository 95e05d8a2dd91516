//! What counts as there in an index.

use super::{
    super::{hex_hash::HexHash, lost::LostPack},
    *,
};

#[test]
fn packs_that_are_to_be_deleted_are_not_there() {
    let id = |letter: &str| letter.repeat(64);
    let pack = |pack: &str, blob: &str, kind: &str| {
        format!(
            r#"{{"id":"{}","blobs":[{{"id":"{}","type":"{kind}","offset":7,"length":38,"uncompressed_length":9}}]}}"#,
            id(pack),
            id(blob)
        )
    };
    let text = format!(
        r#"{{"supersedes":[],"packs":[{},{}],"packs_to_delete":[{}]}}"#,
        pack("1", "a", "data"),
        pack("2", "b", "tree"),
        pack("3", "c", "data")
    );
    let mut index = Index::default();
    index.add((Id::random(), 1), parse(text.as_bytes()).unwrap());
    let hash = |letter: &str| HexHash::parse(&id(letter)).unwrap().0;
    assert!(index.has(BlobType::Data, &hash("a")) && index.has(BlobType::Tree, &hash("b")));
    assert!(!index.has(BlobType::Tree, &hash("a")) && !index.has(BlobType::Data, &hash("c")));
    let location = index.find(BlobType::Tree, &hash("b")).unwrap();
    assert_eq!((location.offset, location.length), (7, 38));
    assert_eq!(location.pack, Id::new(hash("2")));
    assert_eq!(location.raw_length, NonZeroU32::new(9));
    let place = index.place(BlobType::Tree, &hash("b")).unwrap();
    assert_eq!(index.packs()[place], (Id::new(hash("2")), 38 + 41 + 32 + 4));
    assert_eq!(HexHash(hash("b")).to_string(), id("b"));
    assert!(parse(b"[]").is_err());
    assert!(index.known_packs().contains(&Id::new(hash("3"))));
}

#[test]
fn what_is_lost_counts_as_there_only_for_who_reads_and_has_no_other() {
    let id = |letter: &str| letter.repeat(64);
    let hash = |letter: &str| HexHash::parse(&id(letter)).unwrap().0;
    let pack = |pack: &str| {
        let blob = |blob: &str, offset| {
            let id = id(blob);
            format!(r#"{{"id":"{id}","type":"data","offset":{offset},"length":38}}"#)
        };
        let blobs = [blob("a", 0), blob(if pack == "1" { "b" } else { "c" }, 38)].join(",");
        format!(r#"{{"id":"{}","blobs":[{blobs}]}}"#, id(pack))
    };
    let text = format!(r#"{{"packs":[{},{}]}}"#, pack("1"), pack("2"));
    let mut index = Index::default();
    index.add((Id::random(), 1), parse(text.as_bytes()).unwrap());
    index.entries.sort_unstable_by(|one, other| one.key().cmp(&other.key()));
    let packs = [(Id::new(hash("1")), LostPack { size: None, wanted: 1 })].into();
    let index = index.without(Arc::new(Lost { packs, ..Lost::default() }));
    let (has, find) = (
        |blob| index.has(BlobType::Data, &hash(blob)),
        |blob| index.find(BlobType::Data, &hash(blob)).map(|at| at.pack),
    );
    assert_eq!((has("a"), find("a")), (true, Some(Id::new(hash("2")))));
    assert_eq!((has("b"), find("b")), (false, Some(Id::new(hash("1")))));
    assert_eq!((has("c"), find("c")), (true, Some(Id::new(hash("2")))));
    let lost: Vec<_> = index.lost_blobs().into_iter().map(|(_, id, _)| id).collect();
    assert_eq!(lost, [hash("b")]);
    let pieces = [(Id::new(hash("2")), 38)].into();
    let index = index.without(Arc::new(Lost { pieces, ..Lost::default() }));
    assert!(index.has(BlobType::Data, &hash("a")) && index.has(BlobType::Data, &hash("b")));
    assert!(!index.has(BlobType::Data, &hash("c")));
}
