//! LLM vendors behind one `Provider` trait, with prices and a ledger.
