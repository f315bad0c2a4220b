//! RFC 7677's example, a server of our own, and servers that are none.

use super::*;
use crate::kafka::security::Secret;

const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";

fn credentials(mechanism: Mechanism, user: &str, password: &str) -> Credentials {
    Credentials { mechanism, user: user.to_owned(), password: Secret::new(password) }
}

fn rfc_7677() -> Credentials {
    credentials(Mechanism::ScramSha256, "user", "pencil")
}

const RFC_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const RFC_FINAL: &str =
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const RFC_SIGNATURE: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

/// The message that follows all hashing, and in how many goes.
fn hashed(exchange: &mut Exchange) -> (String, Salted, u32) {
    for goes in 1.. {
        if let Some((message, salted)) = exchange.hash(ITERATIONS_AT_ONCE) {
            return (String::from_utf8(message).expect("text"), salted, goes);
        }
        assert!(exchange.is_hashing() && goes < 1_000);
    }
    unreachable!()
}

/// Brings the RFC's example to where the server's last message is awaited.
fn at_the_end() -> Exchange {
    let (mut exchange, _) = Exchange::begin(&rfc_7677(), NONCE).expect("begins");
    assert_eq!(exchange.answer(RFC_FIRST.as_bytes(), &[]), Ok(Step::Hash));
    hashed(&mut exchange);
    exchange
}

#[test]
fn the_example_of_rfc_7677_comes_out_in_pieces() {
    let (mut exchange, first) = Exchange::begin(&rfc_7677(), NONCE).expect("begins");
    assert_eq!(first, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    assert_eq!(exchange.answer(RFC_FIRST.as_bytes(), &[]), Ok(Step::Hash));
    let (message, _, goes) = hashed(&mut exchange);
    assert_eq!((message.as_str(), goes), (RFC_FINAL, 4_095_u32.div_ceil(ITERATIONS_AT_ONCE)));
    assert_eq!(exchange.answer(RFC_SIGNATURE.as_bytes(), &[]), Ok(Step::Done));
}

#[test]
fn what_was_salted_once_is_not_salted_again_unless_salt_or_password_changed() {
    let (mut exchange, _) = Exchange::begin(&rfc_7677(), NONCE).expect("begins");
    exchange.answer(RFC_FIRST.as_bytes(), &[]).expect("goes on");
    let known = [hashed(&mut exchange).1];
    let again = |credentials: &Credentials, message: &str| {
        let (mut exchange, _) = Exchange::begin(credentials, NONCE).expect("begins");
        exchange.answer(message.as_bytes(), &known).expect("goes on")
    };
    assert_eq!(again(&rfc_7677(), RFC_FIRST), Step::Send(RFC_FINAL.as_bytes().to_vec()));
    assert_eq!(again(&rfc_7677(), &RFC_FIRST.replace("4096", "4097")), Step::Hash);
    assert_eq!(again(&rfc_7677(), &RFC_FIRST.replace("W22", "X22")), Step::Hash);
    assert_eq!(again(&credentials(Mechanism::ScramSha256, "user", "pen"), RFC_FIRST), Step::Hash);
}

#[test]
fn a_server_that_cannot_sign_is_an_impostor() {
    let other = RFC_SIGNATURE.replace("6rr", "7rr");
    assert_eq!(at_the_end().answer(other.as_bytes(), &[]), Err(Refusal::Impostor));
    for no_signature in ["", "v=", "v=?", "x=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "v=6rri"] {
        assert!(at_the_end().answer(no_signature.as_bytes(), &[]).is_err(), "{no_signature}");
    }
    let said = at_the_end().answer(b"e=invalid-proof\n\x1b[2J", &[]).expect_err("refused").to_string();
    assert_eq!(said, "the broker says invalid-proof[2J");
}

#[test]
fn a_challenge_that_is_weak_dear_or_not_ours_is_refused() {
    let refused = [
        ("i=4096", "i=4095", "fewer than the 4096"),
        ("i=4096", "i=65537", "more than 65536"),
        ("i=4096", "i=-1", "no iteration count"),
        ("i=4096", "i=99999999999", "no iteration count"),
        ("r=rOpr", "r=rOpx", "does not go on"),
        ("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "", "does not go on"),
        ("r=rOpr", "m=x,r=rOpr", "no nonce"),
        ("s=W22ZaJ0SNY7soEsUEjb6gQ==", "s=", "no salt"),
        ("s=W22ZaJ0SNY7soEsUEjb6gQ==", "s=!", "no salt"),
        (",i=4096", "", "no iteration count"),
    ];
    for (good, bad, why) in refused {
        let (mut exchange, _) = Exchange::begin(&rfc_7677(), NONCE).expect("begins");
        let message = RFC_FIRST.replace(good, bad);
        let refusal = exchange.answer(message.as_bytes(), &[]).expect_err(&message).to_string();
        assert!(refusal.contains(why), "{message}: {refusal}");
        assert!(!refusal.contains("pencil"));
    }
}

#[test]
fn no_message_of_a_server_panics() {
    for base in [RFC_FIRST.as_bytes(), RFC_SIGNATURE.as_bytes(), b"e=x,v=y"] {
        for at in 0..base.len() {
            for value in [0, b',', b'=', 0x80, 0xff] {
                let mut message = base.to_vec();
                message[at] = value;
                for message in [&message[..], &base[..at]] {
                    let (mut exchange, _) = Exchange::begin(&rfc_7677(), NONCE).expect("begins");
                    let _ = exchange.answer(message, &[]);
                    let (mut plain, _) = Exchange::begin(&credentials(Mechanism::Plain, "u", "p"), "").expect("begins");
                    let _ = plain.answer(message, &[]);
                }
            }
        }
    }
}

#[test]
fn pieces_give_what_pbkdf2_gives() {
    use ring::pbkdf2;
    let count = std::num::NonZeroU32::new(5_000).expect("not 0");
    for (hash, algorithm, bytes) in
        [(pbkdf2::PBKDF2_HMAC_SHA256, hmac::HMAC_SHA256, 32), (pbkdf2::PBKDF2_HMAC_SHA512, hmac::HMAC_SHA512, 64)]
    {
        let mut expected = vec![0; bytes];
        pbkdf2::derive(hash, count, b"salt", "pässwörd".as_bytes(), &mut expected);
        let mut work = Work::new(algorithm, "pässwörd", b"salt", count.get());
        while !work.go_on(999) {}
        assert_eq!(work.sum, expected);
    }
}

/// RFC 5802 from the server's side, for SHA-512.
#[test]
fn a_server_that_knows_the_stored_key_takes_sha_512() {
    let user = credentials(Mechanism::ScramSha512, "a=b,c", "alice-secret");
    let (mut exchange, first) = Exchange::begin(&user, "abc").expect("begins");
    let bare = String::from_utf8(first).expect("text").strip_prefix("n,,").expect("no binding").to_owned();
    assert_eq!(bare, "n=a=3Db=2Cc,r=abc");
    let challenge = format!("r=abcdef,s={},i=5000", BASE64.encode("NaCl"));
    exchange.answer(challenge.as_bytes(), &[]).expect("goes on");
    let (message, ..) = hashed(&mut exchange);
    let (without_proof, proof) = message.split_once(",p=").expect("a proof");
    assert_eq!(without_proof, "c=biws,r=abcdef");
    let mut salted = [0; 64];
    let count = std::num::NonZeroU32::new(5_000).expect("not 0");
    ring::pbkdf2::derive(ring::pbkdf2::PBKDF2_HMAC_SHA512, count, b"NaCl", b"alice-secret", &mut salted);
    let salted = hmac::Key::new(hmac::HMAC_SHA512, &salted);
    let stored = digest::digest(&digest::SHA512, hmac::sign(&salted, b"Client Key").as_ref());
    let auth = format!("{bare},{challenge},{without_proof}");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, stored.as_ref()), auth.as_bytes());
    let proof = BASE64.decode(proof).expect("base64");
    let client_key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
    assert_eq!(digest::digest(&digest::SHA512, &client_key).as_ref(), stored.as_ref(), "the server takes the proof");
    let server_key = hmac::Key::new(hmac::HMAC_SHA512, hmac::sign(&salted, b"Server Key").as_ref());
    let last = format!("v={}", BASE64.encode(hmac::sign(&server_key, auth.as_bytes())));
    assert_eq!(exchange.answer(last.as_bytes(), &[]), Ok(Step::Done));
}

#[test]
fn plain_sends_nul_user_nul_password() {
    let (mut exchange, message) =
        Exchange::begin(&credentials(Mechanism::Plain, "bob", "bob-secret"), "").expect("begins");
    assert_eq!(message, b"\0bob\0bob-secret");
    assert_eq!(exchange.answer(b"", &[]), Ok(Step::Done));
    assert!(exchange.answer(b"", &[]).is_err(), "it is over");
    for (user, password) in [("", "p"), ("u", ""), ("u\0", "p"), ("u", "p\0")] {
        assert!(Exchange::begin(&credentials(Mechanism::Plain, user, password), "").is_err());
    }
}

#[test]
fn no_debug_output_shows_a_password_or_what_is_made_of_it() {
    let (mut exchange, message) = Exchange::begin(&rfc_7677(), NONCE).expect("begins");
    let mut shown = format!("{exchange:?} {:?}", Step::Send(message));
    exchange.answer(RFC_FIRST.as_bytes(), &[]).expect("goes on");
    let (_, salted, _) = hashed(&mut exchange);
    shown += &format!("{exchange:?} {salted:?}");
    assert!(!shown.contains("pencil") && !shown.contains('['), "{shown}");
}

#[test]
fn nonces_differ_by_key_and_by_number() {
    let of = |key, numbers| nonce(NonceKey([key; 32]), numbers);
    let all = [of(1, [0; 3]), of(2, [0; 3]), of(1, [1, 0, 0]), of(1, [0, 1, 0]), of(1, [0, 0, 1])];
    let distinct: std::collections::HashSet<&String> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
    assert!(all.iter().all(|nonce| nonce.len() == 32 && !nonce.contains(',')));
}
