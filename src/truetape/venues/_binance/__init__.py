"""What Binance and Binance US share: one protocol, two venues. Not a venue itself, hence the underscore."""
