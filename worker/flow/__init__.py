"""The decisions about pace: limiter, rate, retry, budget, gate; pure decisions plus waiting."""
