use super::*;

/// The numbers of an ECDSA-Sig-Value.
fn read_integers(der: &[u8]) -> Vec<Vec<u8>> {
    assert_eq!((der[0], usize::from(der[1])), (0x30, der.len() - 2));
    let mut rest = &der[2..];
    let mut found = Vec::new();
    while let [0x02, length, tail @ ..] = rest {
        let (number, next) = tail.split_at(usize::from(*length));
        found.push(number.to_vec());
        rest = next;
    }
    assert!(rest.is_empty());
    found
}

#[test]
fn a_raw_signature_becomes_two_minimal_positive_integers() {
    let mut raw = [0; 64];
    raw[0] = 0x80;
    raw[63] = 0x7f;
    let mut first = vec![0, 0x80];
    first.extend([0; 31]);
    assert_eq!(read_integers(&signature(&raw).unwrap()), [first, vec![0x7f]]);
    assert_eq!(signature(&[1; 63]), None);
    assert_eq!(signature(&[1; 65]), None);
    assert_eq!(signature(&[0; 64]), None, "zero is no signature");
    assert_eq!(read_integers(&signature(&[0xff; 64]).unwrap()).concat().len(), 66);
}

#[test]
fn a_public_point_is_taken_wrapped_or_bare() {
    let bare = [&[0x04][..], &[7; 64]].concat();
    let wrapped = [&[0x04, 0x41][..], &bare].concat();
    assert_eq!(uncompressed(&bare).as_ref(), Some(&bare));
    assert_eq!(uncompressed(&wrapped).as_ref(), Some(&bare));
    for odd in [&bare[1..], &wrapped[1..66], &[0x02; 65], &[]] {
        assert_eq!(uncompressed(odd), None);
    }
}

#[test]
fn a_stored_reference_names_its_key_again() {
    let token = Token::new(Pkcs11Config {
        module: "/nowhere.so".into(),
        token: "t".to_owned(),
        pin_file: "/nowhere.pin".into(),
        label: "avl-edge".to_owned(),
    });
    let id = [0xab; ID_BYTES];
    assert_eq!(id_of(&format!("{}\nrest", token.uri(&id))).unwrap(), id);
    for damaged in ["", "pkcs11:", "pkcs11:id=%ab", "pkcs11:id=%zz;type=private", "id=%ab"] {
        assert!(matches!(id_of(damaged), Err(TokenError::Reference(_))), "{damaged}");
    }
}

#[test]
fn a_module_that_is_not_there_is_named_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let token = Token::new(Pkcs11Config {
        module: folder.path().join("absent.so"),
        token: "t".to_owned(),
        pin_file: folder.path().join("pin"),
        label: "avl-edge".to_owned(),
    });
    let error = token.generate().err().unwrap().to_string();
    assert!(error.contains("absent.so") && error.contains("identity.pkcs11.module"), "{error}");
}
