"""Instruments: what one symbol's integers stand for."""

from __future__ import annotations

import itertools
from decimal import Decimal

import msgspec

from engine.errors import CapacityError, ConfigError
from engine.settings import InstrumentKind, MarginTier

INT64_MAX = 2**63 - 1
_JUMP_MOST = Decimal("1e-6")  # venues round their amounts


class Instrument(msgspec.Struct, frozen=True):
    """A tradable symbol. Prices are whole multiples of `tick_size`, sizes whole multiples of `lot_size`.

    linear: settled in quote; `multiplier` base units a contract. inverse: settled in base; `multiplier` is
    the quote value of one contract. spot: linear, but bought with cash and never short.
    """

    symbol: str
    tick_size: Decimal
    lot_size: Decimal
    kind: InstrumentKind = "linear"
    multiplier: Decimal = Decimal(1)
    minimum_notional: Decimal = Decimal(0)
    maintenance_rate: Decimal = Decimal("0.005")
    tiers: tuple[MarginTier, ...] = ()

    def margin_tiers(self) -> tuple[MarginTier, ...]:
        """The maintenance tiers, one from 0 on where none are given, with amounts that join them.

        Where no tier has an amount they are derived, as exchanges do: amount = amount before + floor × (rate −
        rate before), so that maintenance has no jump. Raises ConfigError where given amounts leave a jump: at
        which price a position is liquidated would then depend on the way that price came.
        """
        if not self.tiers:
            return (MarginTier(Decimal(0), self.maintenance_rate),)
        joined = [self.tiers[0]]
        is_derived = all(tier.maintenance_amount == 0 for tier in self.tiers)
        for before, tier in itertools.pairwise(self.tiers):
            step = tier.notional_floor * (tier.maintenance_rate - before.maintenance_rate)
            if is_derived:
                amount = joined[-1].maintenance_amount + step
                joined.append(MarginTier(tier.notional_floor, tier.maintenance_rate, amount))
                continue
            expected = before.maintenance_amount + step
            if abs(tier.maintenance_amount - expected) > _JUMP_MOST * max(Decimal(1), abs(expected)):
                raise ConfigError(
                    f"instruments.{self.symbol}.tiers: maintenance_amount {tier.maintenance_amount} at notional"
                    f" {tier.notional_floor} leaves a jump of the maintenance margin; {expected} joins the tiers",
                    remedy="Correct it, or leave out every maintenance_amount to have them derived.",
                )
            joined.append(tier)
        return tuple(joined)

    def price_ticks(self, price: Decimal) -> int:
        """A price as ticks; raises ConfigError where it is no whole number of them."""
        return _whole(price / self.tick_size, f"{self.symbol}: price {price} is no multiple of tick {self.tick_size}")

    def size_lots(self, size: Decimal) -> int:
        """A size as lots; raises ConfigError where it is no whole number of them."""
        return _whole(size / self.lot_size, f"{self.symbol}: size {size} is no multiple of lot {self.lot_size}")

    def value_factor(self, cash_decimals: int) -> int:
        """Cash units that one lot is worth: per tick of price (linear, spot), or × ticks (inverse).

        linear: value = lots × ticks × factor. inverse: value = lots × factor ÷ ticks. Raises CapacityError
        where the factor is not whole: the cash unit is then too coarse for this tick and lot.
        """
        unit = Decimal(10) ** cash_decimals
        if self.kind == "inverse":
            factor = self.lot_size * self.multiplier * unit / self.tick_size
        else:
            factor = self.lot_size * self.multiplier * self.tick_size * unit
        if factor != factor.to_integral_value() or factor <= 0:
            raise CapacityError(
                f"{self.symbol}: one tick ({self.tick_size}) of one lot ({self.lot_size}) is worth"
                f" {factor / unit} in cash, which {cash_decimals} decimals cannot hold",
                remedy="Raise cash_decimals, or give the symbol a coarser lot or tick under `instruments`.",
            )
        if factor > INT64_MAX:
            raise CapacityError(
                f"{self.symbol}: one lot ({self.lot_size}) is worth more cash units than 64 bits hold",
                remedy="Lower cash_decimals, or give the symbol a finer lot under `instruments`.",
            )
        return int(factor)


def _whole(value: Decimal, message: str) -> int:
    if value != value.to_integral_value():
        raise ConfigError(message, remedy="Round it to a whole multiple.")
    return int(value)
