use timebase::Answer;

/// An answer as it is shown: always word, shape and colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) answer: Answer,
}

impl Mark {
    /// The mark of the answer a word stands for; a word from elsewhere is unknown, never safe.
    pub(crate) fn of(word: &str) -> Self {
        Self { answer: Answer::from_word(word).unwrap_or(Answer::Unknown) }
    }

    pub(crate) fn word(&self) -> &'static str {
        self.answer.word()
    }

    pub(crate) fn shape(&self) -> &'static str {
        match self.answer {
            Answer::Certain => "●",
            Answer::Possible => "◐",
            Answer::Safe => "○",
            Answer::Unknown => "▨",
        }
    }

    /// What the answer means where a clock is compared with its budget.
    pub(crate) fn meaning(&self) -> &'static str {
        match self.answer {
            Answer::Certain => "the whole window is outside the limit",
            Answer::Possible => "the window overlaps the limit: the data cannot tell",
            Answer::Safe => "the whole window is inside the limit",
            Answer::Unknown => "no usable data; never counted as safe",
        }
    }
}
