"""The changes that clients make to stored images: each a fact, in force once it is applied."""
