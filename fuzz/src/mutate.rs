//! Mutations of inputs, for runs without libFuzzer.

use crate::{random::Random, secret::KEY};

/// Largest size of an input, in bytes. It exceeds every bound here.
const MOST: usize = 40 << 10;

/// Texts that hostile and sloppy servers send.
const WORDS: [&[u8]; 48] = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\r\r",
    b"\r\n\r\n",
    b"\xef\xbb\xbf",
    b": ping\n\n",
    b":",
    b" ",
    b"\0",
    b"\xff",
    b"\xc3",
    b"data:",
    b"data: ",
    b"data",
    b"event: ",
    b"event: error\n",
    b"id: 1\n",
    b"retry: 99999999999999999999\n",
    b"data: [DONE]\n\n",
    b"[DONE]",
    b"{}",
    b"[]",
    b"[",
    b"{",
    b"]",
    b"}",
    b"\"",
    b",",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"18446744073709551616",
    b"1e400",
    b"4294967295",
    b"0.5",
    b"\\u0000",
    b"\\ud83d",
    b"{\"error\":{\"message\":\"no\"}}",
    b"\"index\":4294967295,",
    b"\"\":",
    b"\"finish_reason\":\"stop\"",
    b"\"usage\":{}",
    b"\"type\":\"error\"",
    b"Retry-After: 99999999999999999999\n",
    KEY.as_bytes(),
];

/// Returns an input that is made from one or two of the corpus by some changes.
///
/// # Panics
///
/// If the corpus is empty.
pub fn mutate(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut data = random.pick(corpus).clone();
    for _ in 0..=random.below(6) {
        change(&mut data, corpus, random);
    }
    data.truncate(MOST);
    data
}

fn change(data: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(data.len() + 1);
    let most = 1 << random.below(10);
    let to = (at + random.below(most)).min(data.len());
    match random.below(16) {
        0 if at < data.len() => data[at] ^= 1 << random.below(8),
        1 if at < data.len() => data[at] = *random.pick(b"\r\n:{}[]\",0 \xef\xff\\"),
        2 | 3 => drop(data.drain(at..to)),
        4 => data.truncate(at),
        5 => {
            let piece = data[at..to].to_vec();
            let into = random.below(data.len() + 1);
            data.splice(into..into, piece);
        }
        6 => {
            let times = 1_usize << random.below(12);
            let piece = data[at..to].repeat(times.min(MOST / (to - at).max(1)));
            data.splice(at..to, piece);
        }
        7 => {
            let other = random.pick(corpus);
            let from = random.below(other.len() + 1);
            data.splice(at.., other[from..].iter().copied());
        }
        8 => {
            let ends: [&[u8]; 3] = [b"\r", b"\r\n", b"\n"];
            let lines: Vec<_> = data.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            *data = lines.join(*random.pick(&ends));
        }
        9 => swap_lines(data, random),
        10 => repeat_line(data, random),
        _ => drop(data.splice(at..at, random.pick(&WORDS).iter().copied())),
    }
    data.truncate(MOST);
}

fn swap_lines(data: &mut Vec<u8>, random: &mut Random) {
    let mut lines: Vec<_> = data.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (one, other) = (random.below(lines.len()), random.below(lines.len()));
    lines.swap(one, other);
    *data = lines.join(&b'\n');
}

fn repeat_line(data: &mut Vec<u8>, random: &mut Random) {
    let mut lines: Vec<_> = data.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (one, into) = (random.below(lines.len()), random.below(lines.len()));
    let line = lines[one].clone();
    lines.insert(into, line);
    *data = lines.join(&b'\n');
}
