"""The look-ahead check: `checking` runs a config over other futures, `ambient` hears what code reaches for outside."""
