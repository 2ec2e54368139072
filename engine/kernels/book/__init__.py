"""The core on a tape: order books, and matching against them. The contract is docs/book.md."""
