//! One answer to a listing, read from the bytes that the store sent.
//!
//! The client of object_store keeps of such an answer what it understands, and is content with nothing: a web page, an
//! answer of the first version of the request and a page that is cut off all look like a lake that ends here. So the
//! answer is read a second time, strictly: it is a `ListBucketResult` that is whole and says whether more follows.
//! Names are bytes, because anybody may have put anything into the bucket.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::Event;

/// What an answer must be.
const ROOT: &[u8] = b"ListBucketResult";
/// How much of what a store sent instead is shown.
const SHOWN: usize = 60;

/// A name as it was listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ListedObjects {
    pub(super) key: Vec<u8>,
    pub(super) bytes: u64,
}

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ListPage {
    pub(super) objects: Vec<ListedObjects>,
    /// What the names behind them have in common, up to the delimiter.
    pub(super) folders: Vec<Vec<u8>>,
    /// Whether more follows.
    pub(super) is_truncated: bool,
    /// How to ask for it.
    pub(super) token: Option<String>,
    /// Whether it answers the first version of the request, which knows no tokens.
    pub(super) is_first_version: bool,
}

/// What an answer was, for the client's own body to carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListAnswer {
    ListPage(ListPage),
    /// An error that came under the status of success, as an XML document.
    Conflict,
    /// Neither, for this reason.
    Nonsense(String),
}

/// Reads the body of an answer to a listing.
pub(super) fn read(body: &[u8]) -> ListAnswer {
    match Parser::default().read(body) {
        Ok(answer) => answer,
        Err(why) => ListAnswer::Nonsense(why),
    }
}

/// The name of the outermost element, if the text is XML at all.
pub(super) fn root_of(body: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::from_reader(body);
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) | Event::Empty(start) => return Some(start.local_name().as_ref().to_vec()),
            Event::Text(text) if !is_blank(&text) => return None,
            Event::Eof => return None,
            _ => {}
        }
    }
}

#[derive(Default)]
struct Parser {
    /// The elements that are open, outermost first.
    open: Vec<Vec<u8>>,
    text: Vec<u8>,
    page: ListPage,
    object: ListedObjects,
    truncated: Option<Vec<u8>>,
    is_encoded: bool,
    has_root: bool,
    /// Whether the document turns out to be an error.
    is_error: bool,
}

impl Parser {
    fn read(mut self, body: &[u8]) -> Result<ListAnswer, String> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err("the response is empty".to_owned());
        }
        let mut reader = Reader::from_reader(body);
        loop {
            let event = reader.read_event().map_err(|error| format!("the response is no XML: {error}"))?;
            match event {
                Event::Start(start) => self.begin(start.local_name().as_ref())?,
                Event::Empty(start) => {
                    self.begin(start.local_name().as_ref())?;
                    self.end()?;
                }
                Event::Text(text) if self.open.is_empty() && !is_blank(&text) => {
                    return Err(format!("the response is no XML, it begins with `{}`", shown(&text)));
                }
                Event::Text(text) => self.text.extend_from_slice(&text),
                Event::CData(text) => self.text.extend_from_slice(&text),
                Event::GeneralRef(name) => self.refer(&name)?,
                Event::End(_) => self.end()?,
                Event::Eof => return self.finish(),
                _ => {}
            }
            if self.is_error {
                return Ok(ListAnswer::Conflict);
            }
        }
    }

    fn begin(&mut self, name: &[u8]) -> Result<(), String> {
        if self.open.is_empty() {
            self.is_error = name == b"Error" && !self.has_root;
            if !self.is_error && (name != ROOT || self.has_root) {
                return Err(format!("the response is a <{}>, not a <ListBucketResult>", shown(name)));
            }
            self.has_root = true;
        }
        self.open.push(name.to_vec());
        self.text.clear();
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let name = self.open.pop().unwrap_or_default();
        let text = std::mem::take(&mut self.text);
        let parents: Vec<&[u8]> = self.open.iter().skip(1).map(Vec::as_slice).collect();
        match (&parents[..], &name[..]) {
            ([], b"IsTruncated") => self.truncated = Some(text),
            ([], b"NextContinuationToken") => {
                let token = String::from_utf8(text).map_err(|_| "its token is not UTF-8".to_owned())?;
                self.page.token = Some(token).filter(|token| !token.is_empty());
            }
            ([], b"NextMarker" | b"Marker") => self.page.is_first_version = true,
            ([], b"EncodingType") => self.is_encoded = text.eq_ignore_ascii_case(b"url"),
            ([], b"Contents") => self.page.objects.push(std::mem::take(&mut self.object)),
            ([b"Contents"], b"Key") => self.object.key = text,
            ([b"Contents"], b"Size") => {
                let size = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
                self.object.bytes = size.ok_or_else(|| format!("a size is `{}`", shown(&text)))?;
            }
            ([b"CommonPrefixes"], b"Prefix") => self.page.folders.push(text),
            _ => {}
        }
        Ok(())
    }

    /// Takes in `&amp;` and the like. Names may hold characters that XML forbids, and stores write them as numbers all
    /// the same.
    fn refer(&mut self, name: &[u8]) -> Result<(), String> {
        let unknown = || format!("the response holds `&{};`", shown(name));
        let text = std::str::from_utf8(name).map_err(|_| unknown())?;
        let letter = match text {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let digits = text.strip_prefix('#').ok_or_else(unknown)?;
                let number = match digits.strip_prefix(['x', 'X']) {
                    Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
                    None => digits.parse(),
                };
                number.ok().map_or(char::REPLACEMENT_CHARACTER, |number| {
                    char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER)
                })
            }
        };
        self.text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn finish(mut self) -> Result<ListAnswer, String> {
        if !self.has_root || !self.open.is_empty() {
            return Err("the response is cut off".to_owned());
        }
        self.page.is_truncated = match self.truncated.as_deref().map(<[u8]>::trim_ascii) {
            Some(text) if text.eq_ignore_ascii_case(b"true") => true,
            Some(text) if text.eq_ignore_ascii_case(b"false") => false,
            Some(text) => return Err(format!("whether more follows is answered by `{}`", shown(text))),
            None => return Err("the response does not say whether more follows".to_owned()),
        };
        if self.is_encoded {
            self.page.objects.iter_mut().for_each(|object| object.key = decoded(&object.key));
            self.page.folders.iter_mut().for_each(|folder| *folder = decoded(folder));
        }
        Ok(ListAnswer::ListPage(self.page))
    }
}

fn is_blank(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_whitespace)
}

/// The beginning of something, for people.
fn shown(bytes: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(bytes.trim_ascii());
    let end = text.char_indices().nth(SHOWN).map_or(text.len(), |(at, _)| at);
    text[..end].replace(char::is_control, " ").into()
}

/// A name without the percent signs that a store put in.
fn decoded(name: &[u8]) -> Vec<u8> {
    let digit = |at: usize| char::from(*name.get(at)?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(name.len());
    let mut at = 0;
    while let Some(byte) = name.get(at) {
        let coded = digit(at + 1).zip(digit(at + 2)).filter(|_| *byte == b'%');
        bytes.push(match (coded, byte) {
            (Some((high, low)), _) => high << 4 | low,
            (None, b'+') => b' ',
            (None, byte) => *byte,
        });
        at += if coded.is_some() { 3 } else { 1 };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(inner: &str) -> ListAnswer {
        read(format!("<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"x\">{inner}</ListBucketResult>\n").as_bytes())
    }

    fn nonsense(answer: &ListAnswer, word: &str) {
        assert!(matches!(answer, ListAnswer::Nonsense(why) if why.contains(word)), "`{word}`: {answer:?}");
    }

    #[test]
    fn a_page_is_read_as_it_was_sent() {
        let read = page(
            "<Name>b</Name><Prefix>l/</Prefix><IsTruncated> true </IsTruncated><NextContinuationToken>a&amp;b</NextContinuationToken>\
             <Contents><Key>l/a&lt;&#x1;&#10;</Key><Size>12</Size><Owner><ID>Key</ID></Owner></Contents>\
             <Contents><Key><![CDATA[l/b//.]]></Key><Size>0</Size></Contents>\
             <CommonPrefixes><Prefix>l/c/</Prefix></CommonPrefixes><EncodingType/>",
        );
        let object = |key: &str, bytes| ListedObjects { key: key.into(), bytes };
        let expected = ListPage {
            objects: vec![object("l/a<\u{1}\n", 12), object("l/b//.", 0)],
            folders: vec![b"l/c/".to_vec()],
            is_truncated: true,
            token: Some("a&b".to_owned()),
            is_first_version: false,
        };
        assert_eq!(read, ListAnswer::ListPage(expected));
    }

    #[test]
    fn names_need_not_be_utf8_and_may_be_encoded() {
        let mut body =
            b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>\xff\xfe</Key><Size>1</Size></Contents>"
                .to_vec();
        body.extend_from_slice(b"</ListBucketResult>");
        let ListAnswer::ListPage(held) = read(&body) else { panic!("a page") };
        assert_eq!(held.objects[0].key, b"\xff\xfe");
        let held = page(
            "<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated><Contents><Key>a%3D%E6%B9%96+%2</Key></Contents>",
        );
        let ListAnswer::ListPage(held) = held else { panic!("a page") };
        assert_eq!(held.objects[0].key, "a=湖 %2".as_bytes());
    }

    #[test]
    fn what_is_no_listing_is_told_apart() {
        nonsense(&read(b"  \n"), "empty");
        nonsense(&read(b"<html><body>Please sign in</body></html>"), "<html>");
        nonsense(&read(b"<!DOCTYPE html><HTML>"), "<HTML>");
        nonsense(&read(b"{\"error\": 1}"), "begins with `{");
        nonsense(&read(b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents>"), "cut off");
        nonsense(&read(b"<ListBucketResult><IsTruncated>fal"), "");
        nonsense(&page(""), "does not say whether more follows");
        nonsense(&page("<IsTruncated>perhaps</IsTruncated>"), "perhaps");
        nonsense(&page("<IsTruncated>false</IsTruncated><Contents><Size>-1</Size></Contents>"), "a size is `-1`");
        assert_eq!(read(b"<?xml version=\"1.0\"?><Error><Code>SlowDown</Code></Error>"), ListAnswer::Conflict);
        let first = page("<Marker/><NextMarker>x</NextMarker><IsTruncated>true</IsTruncated>");
        assert!(matches!(
            first,
            ListAnswer::ListPage(ListPage { is_first_version: true, is_truncated: true, token: None, .. })
        ));
        assert_eq!(root_of(b" <a:Error x='1'>"), Some(b"Error".to_vec()));
        assert_eq!(root_of(b"text"), None);
    }
}
