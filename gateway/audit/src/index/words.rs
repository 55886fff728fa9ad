//! Numbers repeated texts. In: texts, numbers. Out: numbers, texts. Never here: what they mean.

use ahash::AHashMap;
use rusqlite::{Connection, OptionalExtension};

use crate::index::sql;

/// Words kept at hand: at most some 20 MB. Beyond, the file is asked again.
const KEPT_MAX: usize = 200_000;

/// The number of a text; 0 is none.
pub type Code = u32;

/// Texts on their way in.
#[derive(Debug, Default)]
pub struct Words {
    codes: AHashMap<Box<str>, Code>,
    /// Lists of words, by their text as JSON: most calls are decided by the same few rules.
    lists: AHashMap<Box<str>, (Code, Box<[Code]>)>,
}

impl Words {
    /// The number of a text, a new one where it is new.
    ///
    /// # Errors
    /// When the file refuses.
    pub fn code(&mut self, db: &Connection, text: &str) -> rusqlite::Result<Code> {
        if let Some(code) = self.codes.get(text) {
            return Ok(*code);
        }
        let code = match find(db, text)? {
            Some(code) => code,
            None => {
                db.prepare_cached(sql::WORD_ADD)?.execute([text])?;
                u32::try_from(db.last_insert_rowid()).unwrap_or(0)
            }
        };
        if self.codes.len() >= KEPT_MAX {
            self.codes.clear();
        }
        self.codes.insert(text.into(), code);
        Ok(code)
    }

    /// The number of a list that is a JSON array of texts, and those of its words.
    ///
    /// # Errors
    /// When the file refuses.
    pub fn list(&mut self, db: &Connection, json: &str) -> rusqlite::Result<(Code, Box<[Code]>)> {
        if let Some(known) = self.lists.get(json) {
            return Ok(known.clone());
        }
        let mut codes = Vec::new();
        for word in serde_json::from_str::<Vec<String>>(json).unwrap_or_default() {
            codes.push(self.code(db, &word)?);
        }
        let known = (self.code(db, json)?, codes.into_boxed_slice());
        if self.lists.len() >= KEPT_MAX {
            self.lists.clear();
        }
        self.lists.insert(json.into(), known.clone());
        Ok(known)
    }
}

/// The number of a text, where it has one.
///
/// # Errors
/// When the file cannot be read.
pub fn find(db: &Connection, text: &str) -> rusqlite::Result<Option<Code>> {
    db.prepare_cached(sql::WORD_CODE)?.query_row([text], |row| row.get(0)).optional()
}

/// Numbers on their way out.
#[derive(Debug, Default)]
pub struct Texts {
    texts: AHashMap<Code, String>,
}

impl Texts {
    /// The text of a number; none for none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn text(&mut self, db: &Connection, code: Option<Code>) -> rusqlite::Result<Option<String>> {
        let Some(code) = code.filter(|code| *code != 0) else { return Ok(None) };
        if let Some(text) = self.texts.get(&code) {
            return Ok(Some(text.clone()));
        }
        let text: String = db.prepare_cached(sql::WORD_TEXT)?.query_row([code], |row| row.get(0))?;
        if self.texts.len() >= KEPT_MAX {
            self.texts.clear();
        }
        self.texts.insert(code, text.clone());
        Ok(Some(text))
    }
}
