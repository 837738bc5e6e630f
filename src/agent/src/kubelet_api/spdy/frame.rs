//! Frames of SPDY/3.1 and their codec.

use std::io;
use std::sync::OnceLock;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use tokio_util::codec::{Decoder, Encoder};

/// Version in every control frame.
const VERSION: u16 = 3;
/// FLAG_FIN: the sender's half of the stream ends with this frame.
const FLAG_FIN: u8 = 1;
/// Bytes before the payload of any frame.
const HEADER_LEN: usize = 8;
/// Largest payload accepted; data frames of known servers are at most 64 KiB.
const MAX_PAYLOAD: usize = 1 << 20;
/// Largest header block after decompression.
const MAX_HEADER_BLOCK: usize = 64 << 10;

/// Names and values of a header block, in order.
pub(crate) type Headers = Vec<(String, String)>;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Opens a stream.
    SynStream { id: u32, fin: bool, headers: Headers },
    /// Accepts a stream.
    SynReply { id: u32, fin: bool, headers: Headers },
    /// Ends a stream in both directions.
    RstStream { id: u32, status: u32 },
    /// Connection parameters; none of them matters here.
    Settings,
    /// Asks for the same frame back when the id is the peer's own.
    Ping { id: u32 },
    /// The sender opens and accepts no more streams.
    GoAway { last_good_id: u32, status: u32 },
    /// More headers for a stream.
    Headers { id: u32, fin: bool, headers: Headers },
    /// Flow control credit.
    WindowUpdate { id: u32, delta: u32 },
    /// Payload of a stream.
    Data { id: u32, fin: bool, payload: Bytes },
}

/// Encodes and decodes frames of one connection. Header compression is stateful in each direction.
pub(crate) struct Codec {
    deflate: Compress,
    inflate: Decompress,
}

impl Codec {
    pub(crate) fn new() -> io::Result<Self> {
        let mut deflate = Compress::new(Compression::new(6), true);
        deflate.set_dictionary(dictionary()).map_err(io::Error::other)?;
        Ok(Self { deflate, inflate: Decompress::new(true) })
    }

    fn compress(&mut self, headers: &Headers) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        plain.put_u32(len_u32(headers.len())?);
        for (name, value) in headers {
            put_string(&mut plain, name)?;
            put_string(&mut plain, value)?;
        }
        let mut out = Vec::with_capacity(plain.len() + 64);
        let start = self.deflate.total_in();
        loop {
            let done = usize::try_from(self.deflate.total_in() - start).map_err(io::Error::other)?;
            if out.len() == out.capacity() {
                out.reserve(256);
            }
            self.deflate
                .compress_vec(&plain[done..], &mut out, FlushCompress::Sync)
                .map_err(io::Error::other)?;
            // With room left after a sync flush everything has been written.
            if self.deflate.total_in() - start == plain.len() as u64 && out.len() < out.capacity() {
                return Ok(out);
            }
        }
    }

    fn decompress(&mut self, input: &[u8]) -> io::Result<Headers> {
        let mut plain = Vec::with_capacity(input.len().saturating_mul(4).clamp(256, MAX_HEADER_BLOCK));
        let start = self.inflate.total_in();
        loop {
            let done = usize::try_from(self.inflate.total_in() - start).map_err(io::Error::other)?;
            let before = plain.len();
            match self.inflate.decompress_vec(&input[done..], &mut plain, FlushDecompress::Sync) {
                Ok(Status::Ok | Status::BufError | Status::StreamEnd) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.inflate.set_dictionary(dictionary()).map_err(io::Error::other)?;
                    continue;
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            let consumed = usize::try_from(self.inflate.total_in() - start).map_err(io::Error::other)?;
            if plain.len() == plain.capacity() {
                if plain.len() >= MAX_HEADER_BLOCK {
                    return Err(invalid("SPDY header block is too large"));
                }
                plain.reserve(plain.len().max(256));
                continue;
            }
            if consumed == input.len() || (consumed == done && plain.len() == before) {
                break;
            }
        }
        parse_headers(&plain)
    }

    fn parse_control(&mut self, kind: u16, flags: u8, mut body: Bytes) -> io::Result<Option<Frame>> {
        let fin = flags & FLAG_FIN != 0;
        let need = |body: &Bytes, n: usize| {
            if body.len() < n { Err(invalid("SPDY control frame is too short")) } else { Ok(()) }
        };
        Ok(Some(match kind {
            1 => {
                need(&body, 10)?;
                let id = body.get_u32() & 0x7fff_ffff;
                body.advance(6);
                Frame::SynStream { id, fin, headers: self.decompress(&body)? }
            }
            2 => {
                need(&body, 4)?;
                let id = body.get_u32() & 0x7fff_ffff;
                Frame::SynReply { id, fin, headers: self.decompress(&body)? }
            }
            3 => {
                need(&body, 8)?;
                Frame::RstStream { id: body.get_u32() & 0x7fff_ffff, status: body.get_u32() }
            }
            4 => Frame::Settings,
            6 => {
                need(&body, 4)?;
                Frame::Ping { id: body.get_u32() }
            }
            7 => {
                need(&body, 8)?;
                Frame::GoAway { last_good_id: body.get_u32() & 0x7fff_ffff, status: body.get_u32() }
            }
            8 => {
                need(&body, 4)?;
                let id = body.get_u32() & 0x7fff_ffff;
                Frame::Headers { id, fin, headers: self.decompress(&body)? }
            }
            9 => {
                need(&body, 8)?;
                Frame::WindowUpdate { id: body.get_u32() & 0x7fff_ffff, delta: body.get_u32() & 0x7fff_ffff }
            }
            // Unknown control frames are skipped, as the draft asks.
            _ => return Ok(None),
        }))
    }
}

impl Decoder for Codec {
    type Item = Frame;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> io::Result<Option<Frame>> {
        loop {
            if src.len() < HEADER_LEN {
                return Ok(None);
            }
            let first = u32::from_be_bytes([src[0], src[1], src[2], src[3]]);
            let flags = src[4];
            let length = usize::from(src[5]) << 16 | usize::from(src[6]) << 8 | usize::from(src[7]);
            if length > MAX_PAYLOAD {
                return Err(invalid("SPDY frame is too large"));
            }
            if src.len() < HEADER_LEN + length {
                src.reserve(HEADER_LEN + length - src.len());
                return Ok(None);
            }
            src.advance(HEADER_LEN);
            let body = src.split_to(length).freeze();
            if first & 0x8000_0000 == 0 {
                return Ok(Some(Frame::Data { id: first, fin: flags & FLAG_FIN != 0, payload: body }));
            }
            if (first >> 16) & 0x7fff != u32::from(VERSION) {
                return Err(invalid("SPDY version is not 3"));
            }
            #[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are the type")]
            let kind = first as u16;
            if let Some(frame) = self.parse_control(kind, flags, body)? {
                return Ok(Some(frame));
            }
        }
    }
}

impl Encoder<Frame> for Codec {
    type Error = io::Error;

    fn encode(&mut self, frame: Frame, dst: &mut BytesMut) -> io::Result<()> {
        let mut body = Vec::new();
        let (kind, flags) = match frame {
            Frame::Data { id, fin, payload } => {
                put_header(dst, id & 0x7fff_ffff, u8::from(fin), payload.len())?;
                dst.extend_from_slice(&payload);
                return Ok(());
            }
            Frame::SynStream { id, fin, headers } => {
                body.put_u32(id);
                body.put_u32(0);
                body.put_u16(0);
                body.extend(self.compress(&headers)?);
                (1, u8::from(fin))
            }
            Frame::SynReply { id, fin, headers } => {
                body.put_u32(id);
                body.extend(self.compress(&headers)?);
                (2, u8::from(fin))
            }
            Frame::RstStream { id, status } => {
                body.put_u32(id);
                body.put_u32(status);
                (3, 0)
            }
            Frame::Settings => {
                body.put_u32(0);
                (4, 0)
            }
            Frame::Ping { id } => {
                body.put_u32(id);
                (6, 0)
            }
            Frame::GoAway { last_good_id, status } => {
                body.put_u32(last_good_id);
                body.put_u32(status);
                (7, 0)
            }
            Frame::Headers { id, fin, headers } => {
                body.put_u32(id);
                body.extend(self.compress(&headers)?);
                (8, u8::from(fin))
            }
            Frame::WindowUpdate { id, delta } => {
                body.put_u32(id);
                body.put_u32(delta);
                (9, 0)
            }
        };
        put_header(dst, 0x8000_0000 | u32::from(VERSION) << 16 | kind, flags, body.len())?;
        dst.extend_from_slice(&body);
        Ok(())
    }
}

fn put_header(dst: &mut BytesMut, first: u32, flags: u8, length: usize) -> io::Result<()> {
    let length = len_u32(length)?;
    if length >= 1 << 24 {
        return Err(invalid("SPDY frame is too large"));
    }
    dst.reserve(HEADER_LEN + length as usize);
    dst.put_u32(first);
    dst.put_u32(u32::from(flags) << 24 | length);
    Ok(())
}

fn put_string(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    out.put_u32(len_u32(text.len())?);
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn parse_headers(mut block: &[u8]) -> io::Result<Headers> {
    fn take_u32(block: &mut &[u8]) -> io::Result<usize> {
        if block.len() < 4 {
            return Err(invalid("SPDY header block is cut off"));
        }
        Ok(block.get_u32() as usize)
    }
    fn take_string(block: &mut &[u8]) -> io::Result<String> {
        let len = take_u32(block)?;
        if block.len() < len {
            return Err(invalid("SPDY header block is cut off"));
        }
        let (text, rest) = block.split_at(len);
        *block = rest;
        Ok(String::from_utf8_lossy(text).into_owned())
    }
    let count = take_u32(&mut block)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = take_string(&mut block)?;
        headers.push((name, take_string(&mut block)?));
    }
    Ok(headers)
}

fn len_u32(len: usize) -> io::Result<u32> {
    u32::try_from(len).map_err(|_| invalid("SPDY block is too large"))
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Words of the header dictionary, each stored with a length before it (draft section 2.6.10.1).
const DICTIONARY_WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding \
accept-language accept-ranges age allow authorization cache-control connection content-base content-encoding \
content-language content-length content-location content-md5 content-range content-type date etag expect expires \
from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location \
max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer \
transfer-encoding upgrade user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 \
url public set-cookie keep-alive origin";

/// The rest of the dictionary, without lengths.
const DICTIONARY_TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417\
502504505203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 \
Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun \
Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,\
image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,\
sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// The dictionary both sides prime their compression with.
fn dictionary() -> &'static [u8] {
    static DICTIONARY: OnceLock<Vec<u8>> = OnceLock::new();
    DICTIONARY.get_or_init(|| {
        let mut bytes = Vec::with_capacity(1423);
        for word in DICTIONARY_WORDS.split(' ') {
            let word = word.replace('_', " ");
            bytes.extend(u32::try_from(word.len()).unwrap_or_default().to_be_bytes());
            bytes.extend(word.as_bytes());
        }
        bytes.extend(DICTIONARY_TAIL.as_bytes());
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_dictionary_is_the_one_of_the_draft() {
        assert_eq!(dictionary().len(), 1423);
        // Any SPDY/3 header block starts with the zlib header and this Adler-32 of the dictionary.
        let mut codec = Codec::new().unwrap();
        let block = codec.compress(&headers(&[("streamtype", "stdin")])).unwrap();
        assert_eq!(block[2..6], [0xe3, 0xc6, 0xa7, 0xc2]);
    }

    #[test]
    fn frames_survive_a_round_trip_in_pieces() {
        let frames = vec![
            Frame::SynStream { id: 1, fin: false, headers: headers(&[("streamtype", "error")]) },
            Frame::SynStream {
                id: 3,
                fin: true,
                headers: headers(&[("streamtype", "stdin"), ("port", "80")]),
            },
            Frame::SynReply { id: 1, fin: false, headers: headers(&[]) },
            Frame::Headers { id: 3, fin: true, headers: headers(&[("a", &"x".repeat(5000))]) },
            Frame::Data { id: 3, fin: false, payload: Bytes::from_static(b"hello") },
            Frame::Data { id: 3, fin: true, payload: Bytes::new() },
            Frame::RstStream { id: 3, status: 5 },
            Frame::Settings,
            Frame::Ping { id: 7 },
            Frame::WindowUpdate { id: 1, delta: 65536 },
            Frame::GoAway { last_good_id: 3, status: 0 },
        ];
        let mut wire = BytesMut::new();
        let mut sender = Codec::new().unwrap();
        for frame in &frames {
            sender.encode(frame.clone(), &mut wire).unwrap();
        }
        let mut receiver = Codec::new().unwrap();
        let mut arrived = BytesMut::new();
        let mut got = Vec::new();
        for byte in wire {
            arrived.put_u8(byte);
            while let Some(frame) = receiver.decode(&mut arrived).unwrap() {
                got.push(frame);
            }
        }
        assert_eq!(got, frames);
    }

    #[test]
    fn unknown_control_frames_are_skipped() {
        let mut wire = BytesMut::new();
        wire.extend_from_slice(&[0x80, 3, 0, 99, 0, 0, 0, 2, 1, 2]);
        let mut codec = Codec::new().unwrap();
        codec.encode(Frame::Ping { id: 2 }, &mut wire).unwrap();
        assert_eq!(codec.decode(&mut wire).unwrap(), Some(Frame::Ping { id: 2 }));
    }

    #[test]
    fn garbage_is_an_error_and_not_a_panic() {
        let mut codec = Codec::new().unwrap();
        let mut wire = BytesMut::from(&[0x80, 3, 0, 1, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9, 9][..]);
        assert!(codec.decode(&mut wire).is_err());
        let mut wire = BytesMut::from(&[0x80, 3, 0, 3, 0, 0, 0, 1, 0][..]);
        assert!(codec.decode(&mut wire).is_err());
    }
}
