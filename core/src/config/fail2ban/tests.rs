//! Directories as people have them, and as nobody should.
