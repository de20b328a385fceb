"""What holds for all tests: no example of a property is judged by the time it takes; machines are shared and noisy."""

import hypothesis

hypothesis.settings.register_profile("precheck", deadline=None)
hypothesis.settings.load_profile("precheck")
