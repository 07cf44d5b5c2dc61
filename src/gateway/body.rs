//! A body while it arrives: decompressed, undressed, and never larger than it may be.
//!
//! What a body is decides its first byte, not its `Content-Encoding`, which proxies lose, misspell and leave behind:
//! gzip begins with 0x1f, JSON with `{`. Gzip may come in several members with zero bytes after them, and must be
//! whole, checksums included. Byte order marks and whitespace before the JSON are dropped. Anything else is noise and
//! is known as such by its first bytes; no more of it is taken in.

use std::io::{self, Write};

use flate2::write::GzDecoder;

const GZIP: u8 = 0x1f;
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Why a body is not read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BodyFault {
    /// It is larger than it may be; so much of it was seen or announced, decompressed.
    TooLarge(u64),
    /// It is no JSON at all: a page of a proxy, or nothing.
    Noise(String),
    /// It broke on its way: its compression is cut short or damaged.
    Broken(String),
}

/// Takes in a body chunk by chunk.
#[derive(Debug)]
pub(super) struct Body {
    form: Form,
    /// What the head of the response announces, as it goes over the wire.
    announced: u64,
    limit: u64,
}

#[derive(Debug)]
enum Form {
    /// Nothing has arrived.
    Unknown(Text),
    Plain(Text),
    Gzip(Box<GzDecoder<Text>>),
    /// A member has ended.
    BetweenMembers(Text),
    Failed,
}

impl Body {
    /// `buffer` is empty and takes the text.
    pub(super) fn new(buffer: Vec<u8>, limit: u64, announced: Option<u64>) -> Self {
        let text = Text { bytes: buffer, size: 0, limit, begun: false, of_mark: 0, fault: None };
        Self { form: Form::Unknown(text), announced: announced.unwrap_or(0), limit }
    }

    /// Takes in what has arrived. After an error the body is lost.
    pub(super) fn push(&mut self, mut chunk: &[u8]) -> Result<(), BodyFault> {
        while let Some(first) = chunk.first() {
            self.form = match std::mem::replace(&mut self.form, Form::Failed) {
                Form::Unknown(text) if *first == GZIP => Form::Gzip(Box::new(GzDecoder::new(text))),
                Form::Unknown(text) => Form::Plain(text),
                Form::Plain(mut text) => {
                    text.take(chunk)?;
                    chunk = &[];
                    Form::Plain(text)
                }
                Form::Gzip(mut decoder) => match decoder.write(chunk) {
                    Ok(0) => Form::BetweenMembers(finish(*decoder)?),
                    Ok(taken) => {
                        chunk = &chunk[taken..];
                        Form::Gzip(decoder)
                    }
                    Err(error) => return Err(broken(decoder.get_mut(), &error)),
                },
                Form::BetweenMembers(text) if *first == 0 => {
                    chunk = &chunk[1..];
                    Form::BetweenMembers(text)
                }
                Form::BetweenMembers(text) if *first == GZIP => Form::Gzip(Box::new(GzDecoder::new(text))),
                Form::BetweenMembers(_) => {
                    return Err(BodyFault::Broken("the gzip is followed by something else".into()));
                }
                Form::Failed => return Err(BodyFault::Broken("the body has failed before".into())),
            };
        }
        // Noise is told by its first bytes, so that it is not taken for a response that is too large.
        match self.announced {
            announced if announced > self.limit && self.has_begun() => Err(BodyFault::TooLarge(announced)),
            _ => Ok(()),
        }
    }

    /// How much memory it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let text = match &self.form {
            Form::Unknown(text) | Form::Plain(text) | Form::BetweenMembers(text) => text,
            Form::Gzip(decoder) => decoder.get_ref(),
            Form::Failed => return 0,
        };
        text.bytes.capacity()
    }

    /// The whole text, and its size before it was undressed.
    pub(super) fn finish(self) -> Result<(Vec<u8>, u64), BodyFault> {
        let text = match self.form {
            Form::Unknown(text) | Form::Plain(text) | Form::BetweenMembers(text) => text,
            Form::Gzip(decoder) => finish(*decoder)?,
            Form::Failed => return Err(BodyFault::Broken("the body has failed before".into())),
        };
        if !text.begun {
            return Err(BodyFault::Noise("it is empty".into()));
        }
        Ok((text.bytes, text.size))
    }

    fn has_begun(&self) -> bool {
        match &self.form {
            Form::Unknown(text) | Form::Plain(text) | Form::BetweenMembers(text) => text.begun,
            Form::Gzip(decoder) => decoder.get_ref().begun,
            Form::Failed => false,
        }
    }
}

/// Checks that a member is whole.
fn finish(mut decoder: GzDecoder<Text>) -> Result<Text, BodyFault> {
    if let Err(error) = decoder.try_finish() {
        return Err(broken(decoder.get_mut(), &error));
    }
    decoder.finish().map_err(|error| BodyFault::Broken(format!("its gzip is damaged: {error}")))
}

/// Why decompressing failed: for a fault of the text, or of the compression.
fn broken(text: &mut Text, error: &io::Error) -> BodyFault {
    text.fault.take().unwrap_or_else(|| BodyFault::Broken(format!("its gzip is damaged or cut short: {error}")))
}

/// The decompressed text.
#[derive(Debug)]
struct Text {
    bytes: Vec<u8>,
    /// Bytes seen, those before the JSON included.
    size: u64,
    limit: u64,
    /// Whether the first byte of the JSON was seen.
    begun: bool,
    /// How many bytes of a byte order mark were seen last.
    of_mark: usize,
    /// What an error of writing was about.
    fault: Option<BodyFault>,
}

impl Text {
    fn take(&mut self, chunk: &[u8]) -> Result<(), BodyFault> {
        self.size = self.size.saturating_add(chunk.len() as u64);
        if self.begun {
            return self.append(chunk);
        }
        for (at, byte) in chunk.iter().enumerate() {
            match (self.of_mark, byte) {
                (0, b'{') => {
                    self.begun = true;
                    return self.append(&chunk[at..]);
                }
                (0, byte) if byte.is_ascii_whitespace() => {}
                (seen, byte) if BYTE_ORDER_MARK[seen] == *byte => self.of_mark = (seen + 1) % BYTE_ORDER_MARK.len(),
                (_, byte) => return Err(BodyFault::Noise(begins_with(*byte))),
            }
        }
        self.check()
    }

    fn append(&mut self, chunk: &[u8]) -> Result<(), BodyFault> {
        self.check()?;
        let (have, need) = (self.bytes.len(), self.bytes.len() + chunk.len());
        if need > self.bytes.capacity() {
            // Growing twofold, but not beyond the limit.
            let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
            self.bytes.reserve_exact(have.saturating_mul(2).min(limit).max(need) - have);
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    fn check(&self) -> Result<(), BodyFault> {
        if self.size > self.limit { Err(BodyFault::TooLarge(self.size)) } else { Ok(()) }
    }
}

impl Write for Text {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        match self.take(chunk) {
            Ok(()) => Ok(chunk.len()),
            Err(fault) => {
                self.fault = Some(fault);
                Err(io::Error::other("the text is not taken"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn begins_with(first: u8) -> String {
    match first {
        b'<' => "it begins with `<`: a page, perhaps of a proxy".to_owned(),
        GZIP => "it is compressed twice".to_owned(),
        first if first.is_ascii_graphic() => format!("it begins with `{}`", char::from(first)),
        first => format!("it begins with the byte 0x{first:02x}"),
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    const JSON: &[u8] = br#"{"code":0,"purchase_list":[]}"#;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).expect("compressed");
        encoder.finish().expect("compressed")
    }

    /// Reads `body` in chunks of `length`.
    fn read_by(body: &[u8], length: usize, limit: u64) -> Result<(Vec<u8>, u64), BodyFault> {
        let mut reader = Body::new(Vec::new(), limit, None);
        body.chunks(length).try_for_each(|chunk| reader.push(chunk))?;
        reader.finish()
    }

    /// Reads `body` in chunks of every length, which must make no difference.
    fn read(body: &[u8]) -> Result<Vec<u8>, BodyFault> {
        let whole = read_by(body, body.len().max(1), 1 << 20);
        for length in 1..=body.len().min(40) {
            assert_eq!(read_by(body, length, 1 << 20), whole, "in chunks of {length}");
        }
        whole.map(|(bytes, _)| bytes)
    }

    fn joined(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn gzip_is_read_as_proxies_send_it() {
        let (first, second) = (gzip(&JSON[..9]), gzip(&JSON[9..]));
        for body in [
            JSON.to_vec(),
            gzip(JSON),
            joined(&[&first, &second]),
            joined(&[&first, &gzip(b""), &second]),
            joined(&[&gzip(b""), &first, &second, &[0; 9]]),
            joined(&[&first, &[0; 3], &second]),
            joined(&[&gzip(&joined(&[b"\xEF\xBB\xBF\n", JSON])), &[0]]),
        ] {
            assert_eq!(read(&body).as_deref(), Ok(JSON));
        }
    }

    #[test]
    fn what_breaks_gzip_is_found_out() {
        let whole = gzip(JSON);
        for cut in 1..whole.len() {
            assert!(matches!(read(&whole[..cut]), Err(BodyFault::Broken(_))), "cut after {cut}");
        }
        let mut bad_checksum = whole.clone();
        let at = bad_checksum.len() - 6;
        bad_checksum[at] ^= 1;
        for body in [
            bad_checksum,
            joined(&[&whole, b"x"]),
            joined(&[&whole, JSON]),
            joined(&[&whole, &[0, 0], b"{}"]),
            joined(&[&whole, &whole[..12]]),
            b"\x1f\x8c no gzip".to_vec(),
        ] {
            assert!(matches!(read(&body), Err(BodyFault::Broken(_))), "{body:?}");
        }
    }

    #[test]
    fn marks_and_blank_lines_before_the_json_are_dropped() {
        let mark: &[u8] = &BYTE_ORDER_MARK;
        for dress in [&b" "[..], b"\r\n\r\n", mark, &joined(&[mark, mark, b"\n", mark, b" \t"]), &[b' '; 3_000]] {
            assert_eq!(read(&joined(&[dress, JSON])).as_deref(), Ok(JSON), "{dress:?}");
        }
    }

    #[test]
    fn noise_is_known_by_its_first_bytes() {
        let mark: &[u8] = &BYTE_ORDER_MARK;
        for noise in [
            &b""[..],
            b"\n \n",
            mark,
            &mark[..2],
            b"<html>502</html>",
            b"\n\n<html>",
            b"[]",
            b"null",
            b"busy",
            b"\xff\xfe{\0}\0",
            b"\xef\xbb{}",
            b"\xef{}",
            &gzip(&gzip(JSON)),
            &gzip(b"<html>"),
            &gzip(b""),
            b"\x78\x9c\xab\xae\x05\x00",
        ] {
            assert!(matches!(read(noise), Err(BodyFault::Noise(_))), "{noise:?}: {:?}", read(noise));
        }
        let mut page = Body::new(Vec::new(), 100, Some(1 << 40));
        assert!(matches!(page.push(b"<html>"), Err(BodyFault::Noise(_))), "noise, however large it says to be");
    }

    #[test]
    fn a_body_above_the_limit_is_let_go_as_soon_as_it_is_known() {
        assert_eq!(read_by(JSON, 7, JSON.len() as u64).map(|(_, size)| size), Ok(JSON.len() as u64));
        for length in [1, 7, 1_000] {
            let fault = read_by(JSON, length, JSON.len() as u64 - 1);
            assert_eq!(fault, Err(BodyFault::TooLarge(JSON.len() as u64)), "{length}");
        }
        let mut announced = Body::new(Vec::new(), 100, Some(101));
        assert_eq!(announced.push(b"\n"), Ok(()), "it may still be noise");
        assert_eq!(announced.push(b"{"), Err(BodyFault::TooLarge(101)));
        // Whitespace counts, but is not kept.
        let mut blank = Body::new(Vec::new(), 1_000, None);
        let fault = (0..30).find_map(|_| blank.push(&[b' '; 100]).err());
        assert_eq!(fault, Some(BodyFault::TooLarge(1_100)));
    }

    #[test]
    fn a_bomb_takes_no_more_than_the_limit() {
        let mut text = vec![b' '; 64 << 20];
        text[0] = b'{';
        let bomb = gzip(&text);
        assert!(bomb.len() < 100_000, "{}", bomb.len());
        let mut body = Body::new(Vec::new(), 1 << 20, Some(bomb.len() as u64));
        let Err(BodyFault::TooLarge(size)) = body.push(&bomb) else { panic!("a bomb was taken in") };
        assert!(size > 1 << 20 && size <= (1 << 20) + (64 << 10), "{size}");
    }

    #[test]
    fn the_buffer_never_grows_beyond_the_limit() {
        let limit = 100_000;
        let mut body = Body::new(Vec::new(), limit as u64, None);
        body.push(b"{").expect("taken");
        for _ in 0..99 {
            body.push(&[b' '; 1_000]).expect("taken");
        }
        let (bytes, _) = body.finish().expect("a text");
        assert!(bytes.capacity() <= limit, "{}", bytes.capacity());
    }

    proptest! {
        /// However a text is dressed, cut into members and sent in pieces, it comes out as it was.
        #[test]
        fn any_dress_comes_off(
            text in "\\{\\PC{0,200}",
            members in prop::collection::vec(0_usize..200, 0..4),
            dress in "[ \n\r\t\u{feff}]{0,8}",
            zeros in 0_usize..4,
            length in 1_usize..50,
        ) {
            let whole = format!("{dress}{text}").into_bytes();
            let mut cuts: Vec<usize> = members.iter().map(|cut| cut % (whole.len() + 1)).collect();
            cuts.extend([0, whole.len()]);
            cuts.sort_unstable();
            let mut body: Vec<u8> = cuts.windows(2).flat_map(|cut| gzip(&whole[cut[0]..cut[1]])).collect();
            body.resize(body.len() + zeros, 0);
            let read = read_by(&body, length, 10_000);
            prop_assert_eq!(read, Ok((text.clone().into_bytes(), whole.len() as u64)));
            prop_assert_eq!(read_by(&whole, length, 10_000), Ok((text.into_bytes(), whole.len() as u64)));
        }
    }
}
