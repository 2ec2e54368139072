"""From files to settings: `loader` reads, `document` writes, `table` says all fields."""
