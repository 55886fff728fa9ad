//! Counts the events of a stream (HTML, server-sent events). In: its bytes in any pieces. Out: how many events with data have ended.
//! Comments count as nothing.

/// The field that makes an event worth telling.
const DATA: &[u8] = b"data:";

/// The place inside a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    ended: u64,
    has_data: bool,
    line: Line,
}

/// The place inside a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    /// At its beginning.
    #[default]
    Empty,
    /// Behind so many bytes that are those of `data:`.
    Like(usize),
    /// Inside a line whose beginning is known.
    Known,
}

impl Events {
    /// Events with data that have ended.
    pub fn ended(&self) -> u64 {
        self.ended
    }

    /// Goes on by a piece.
    pub fn take(&mut self, piece: &[u8]) {
        for byte in piece {
            self.line = match (self.line, byte) {
                (line, b'\r') => line,
                (Line::Empty, b'\n') => {
                    self.ended += u64::from(self.has_data);
                    self.has_data = false;
                    Line::Empty
                }
                (Line::Like(_) | Line::Known, b'\n') => Line::Empty,
                (Line::Known, _) => Line::Known,
                (Line::Empty, byte) => self.like(0, *byte),
                (Line::Like(length), byte) => self.like(length, *byte),
            };
        }
    }

    fn like(&mut self, length: usize, byte: u8) -> Line {
        match DATA.get(length) {
            Some(wanted) if *wanted == byte && length + 1 == DATA.len() => {
                self.has_data = true;
                Line::Known
            }
            Some(wanted) if *wanted == byte => Line::Like(length + 1),
            Some(_) | None => Line::Known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_events_with_data_count_however_they_are_cut() {
        let rows = [
            ("", 0),
            (": open\n\n", 0),
            ("id: 5\n\n", 0),
            ("database: x\n\n", 0),
            ("data: x\n", 0),
            ("data: x\n\n", 1),
            ("event: message\r\ndata: x\r\n\r\n: alive\r\n\r\ndata:y\r\ndata:z\r\n\r\n", 2),
        ];
        for (text, expected) in rows {
            for cut in 0..=text.len() {
                let (first, second) = text.as_bytes().split_at(cut);
                let mut events = Events::default();
                events.take(first);
                events.take(second);
                assert_eq!(events.ended(), expected, "given {text:?} cut at {cut}");
            }
        }
    }
}
