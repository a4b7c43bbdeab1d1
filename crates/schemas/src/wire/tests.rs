//! Places of schema ids, read and written.

use proptest::prelude::*;

use super::*;

const GUID_BYTES: [u8; 16] = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef";

/// As Confluent's clients have them: the value, its header, and what is found.
#[test]
fn ids_are_found_in_headers_first_and_then_in_front() {
    let number = Some(SchemaId::Number(0x0102_0304));
    let guid = Some(SchemaId::Guid(GUID_BYTES));
    let with_guid = [b"\x01", GUID_BYTES.as_slice()].concat();
    type Row<'a> = (&'a [u8], Option<&'a [u8]>, Option<SchemaId>, &'a [u8]);
    let rows: [Row<'_>; 13] = [
        (b"\0\x01\x02\x03\x04ab", None, number, b"ab"),
        (b"\0\x01\x02\x03\x04", None, number, b""),
        (b"ab", Some(b"\0\x01\x02\x03\x04"), number, b"ab"),
        (b"ab", Some(&with_guid), guid, b"ab"),
        (b"\0\0\0\0\x09a", Some(&with_guid), guid, b"\0\0\0\0\x09a"),
        (b"\0\x01\x02\x03\x04ab", Some(b"\0\x01"), number, b"ab"),
        (b"\0\x01\x02\x03\x04ab", Some(b""), number, b"ab"),
        (b"\0\x01\x02\x03\x04ab", Some(b"\x02\x01\x02\x03\x04"), number, b"ab"),
        (b"\0\x01\x02\x03", None, None, b""),
        (b"", None, None, b""),
        (br#"{"a":1}"#, None, None, b""),
        (&with_guid, None, None, b""),
        (b"ab", Some(b"\x01\x02"), None, b""),
    ];
    for (bytes, header, id, payload) in rows {
        let found = find(bytes, header);
        assert_eq!(found.map(|framed| framed.id), id, "{bytes:x?} {header:x?}");
        assert_eq!(found.map_or(&b""[..], |framed| framed.payload()), payload, "{bytes:x?} {header:x?}");
    }
}

#[test]
fn message_indexes_follow_the_id() {
    type Row<'a> = (&'a [u8], Option<(&'a [usize], &'a [u8])>);
    let rows: [Row<'_>; 10] = [
        (b"\0m", Some((&[0], b"m"))),
        (b"\x02\0m", Some((&[0], b"m"))),
        (b"\x02\x02m", Some((&[1], b"m"))),
        (b"\x04\x02\x80\x01m", Some((&[1, 64], b"m"))),
        (b"", None),
        (b"\x04\x02", None),
        (b"\x01", None),                    // -1 of them
        (b"\x02\x01", None),                // the one before the first
        (b"\x42", None),                    // 33 of them
        (b"\x80\x80\x80\x80\x80\0m", None), // no 32 bits
    ];
    for (after_id, want) in rows {
        let want = want.map(|(indexes, bytes)| (indexes.to_vec(), bytes));
        let front = [b"\0\0\0\0\x01", after_id].concat();
        assert_eq!(find(&front, None).unwrap().message().ok(), want, "{after_id:x?}");
        let head = after_id.strip_suffix(b"m").unwrap_or(after_id);
        for id in [&b"\0\0\0\0\x01"[..], &[b"\x01", GUID_BYTES.as_slice()].concat()] {
            let header = [id, head].concat();
            let found = find(b"m", Some(&header)).unwrap();
            assert_eq!(found.message().ok(), want, "{after_id:x?} in a header");
        }
    }
}

#[test]
fn ids_are_written_as_people_write_them() {
    assert_eq!(SchemaId::Number(7).to_string(), "7");
    assert_eq!(SchemaId::Guid(GUID_BYTES).to_string(), "01234567-89ab-cdef-0123-456789abcdef");
}

proptest! {
    #[test]
    fn written_ids_are_found(
        id: u32,
        guid: [u8; 16],
        indexes in proptest::collection::vec(0_usize..0x7FFF_FFFF, 1..=MAX_INDEXES),
        payload: Vec<u8>,
    ) {
        let mut front = Vec::new();
        prefix(id, Some(&indexes), &mut front);
        let bytes = [&front[..], &payload].concat();
        let found = find(&bytes, None).unwrap();
        prop_assert_eq!(found.id, SchemaId::Number(id));
        prop_assert_eq!(found.message().unwrap(), (indexes.clone(), &payload[..]));
        for cut in 0..front.len() {
            prop_assert!(find(&bytes[..cut], None).is_none_or(|found| found.message().is_err()));
        }
        let mut value = Vec::new();
        header(SchemaId::Guid(guid), Some(&indexes), &mut value);
        let found = find(&payload, Some(&value)).unwrap();
        prop_assert_eq!(found.id, SchemaId::Guid(guid));
        prop_assert_eq!(found.message().unwrap(), (indexes, &payload[..]));
    }
}
