"""Names and numbers that look right and belong to nobody.

============ ============================================================================================
NPI          ten digits with the Luhn check digit of 45 CFR 162.406; they start with 2, which CMS has never issued
tax id       nine digits; they start with 89, which is no EIN prefix of the IRS
member id    ``TST`` and digits
names        words such as TESTER and SAMPLE; addresses in towns that do not exist, telephone numbers 555-01xx
============ ============================================================================================
"""

LAST_NAMES = ("TESTER", "SAMPLESON", "EXAMPLE", "PLACEHOLDER", "DEMOWITZ", "FAKERMAN", "MOCKLEY", "SYNTHETIC")
FIRST_NAMES = ("ALFA", "BRAVO", "CHARLIE", "DELTA", "ECHO", "FOXTROT", "GOLF", "HOTEL", "INDIA", "JULIETT", "KILO")
STREETS = ("1 SAMPLE STREET", "22 EXAMPLE AVENUE", "303 TEST ROAD", "4004 PLACEHOLDER LANE APT 5")
TOWNS = (("TESTVILLE", "TX"), ("SAMPLE CITY", "FL"), ("EXAMPLETON", "MN"), ("MOCK SPRINGS", "CA"))

_NPI_ISSUER = "80840"  # prefixed to an NPI before the check digit is computed (ISO 7812, CMS)


def luhn_digit(digits: str) -> str:
    """Return the digit that, appended, makes `digits` pass the Luhn check."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def npi(number: int) -> str:
    """Return the `number`-th synthetic NPI; its check digit is right."""
    digits = f"2{number % 100_000_000:08d}"
    return digits + luhn_digit(_NPI_ISSUER + digits)


def tax_id(number: int) -> str:
    """Return the `number`-th synthetic employer's tax id."""
    return f"89{number % 10_000_000:07d}"


def postal_code(number: int) -> str:
    """Return nine digits; 00100 and its neighbours are assigned to no place."""
    return f"001{number % 100:02d}{number % 10_000:04d}"
