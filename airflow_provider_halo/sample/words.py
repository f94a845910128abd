"""The names that the sample's people, teams and forms are made of."""

from __future__ import annotations

from typing import Final

__all__ = ["FIRST_NAMES", "FORM_TITLES", "INDUSTRIES", "LAST_NAMES", "SERVICES", "TEAM_HEADS", "TEAM_TAILS"]

# (as written, as in an e-mail address)
FIRST_NAMES: Final = (
    ("Amélie", "amelie"),
    ("Björn", "bjorn"),
    ("Chloe", "chloe"),
    ("Đặng", "dang"),
    ("Emeka", "emeka"),
    ("François", "francois"),
    ("Grace", "grace"),
    ("Hiroshi", "hiroshi"),
    ("Inês", "ines"),
    ("José", "jose"),
    ("Katarzyna", "katarzyna"),
    ("Łukasz", "lukasz"),
    ("Maya", "maya"),
    ("Noor", "noor"),
    ("Óscar", "oscar"),
    ("Priya", "priya"),
    ("Quinn", "quinn"),
    ("Renée", "renee"),
    ("Søren", "soren"),
    ("Tomáš", "tomas"),
    ("Uchenna", "uchenna"),
    ("Víctor", "victor"),
    ("Wei", "wei"),
    ("渡辺", "watanabe"),
    ("Yusuf", "yusuf"),
    ("Zoë", "zoe"),
    ("Αλέξης", "alexis"),
    ("Ольга", "olga"),
    ("ليلى", "layla"),
    ("Ana", "ana"),
)
LAST_NAMES: Final = (
    ("Andersen", "andersen"),
    ("Brontë", "bronte"),
    ("Costa", "costa"),
    ("D'Angelo", "dangelo"),
    ("Erdoğan", "erdogan"),
    ("Fernández", "fernandez"),
    ("Gruber", "gruber"),
    ("Haddad", "haddad"),
    ("Iyer", "iyer"),
    ("Jansen", "jansen"),
    ("Kowalska", "kowalska"),
    ("Larsson", "larsson"),
    ("Müller", "muller"),
    ("Nguyễn", "nguyen"),
    ("O’Brien", "obrien"),  # noqa: RUF001 (the apostrophe is meant)
    ("Petrović", "petrovic"),
    ("Quispe", "quispe"),
    ("Rossi", "rossi"),
    ("Šimek", "simek"),
    ("Tanaka", "tanaka"),
    ("Usman", "usman"),
    ("Vidal", "vidal"),
    ("Weiß", "weiss"),
    ("Xu", "xu"),
    ("Yılmaz", "yilmaz"),  # noqa: RUF001 (the letter is Turkish)
    ("Zając", "zajac"),
)
TEAM_HEADS: Final = (
    "Bright", "Cedar", "Delta", "Ember", "Fjord", "Granite", "Harbour", "Île", "Jasmin", "Köln", "Lumen",
    "Meadow", "Norte", "Öst", "Piñata", "Quartz", "River", "São", "Tundra", "Über", "Velvet", "Willow",
)  # fmt: skip
TEAM_TAILS: Final = (
    "Academy", "Analytics", "& Söhne", "Bakery", "Clinic", "Consulting", "Dental", "Events", "Fitness", "Games",
    "Hotels", "Labs", "Legal", "Logistics", "Media", "Photography", "Realty", "Studio", "Travel", "Workshop",
)  # fmt: skip
INDUSTRIES: Final = (
    "Education", "Finance", "Healthcare", "Hospitality", "Legal", "Marketing", "Non-profit", "Real estate", "Retail",
    "Software", None,
)  # fmt: skip
FORM_TITLES: Final = (
    "Contact us", "Event sign-up", "Job application", "Customer survey", "Newsletter", "Demo request", "NPS",
    "Support ticket", "Order form", "Course feedback", "Client intake", "Waiting list", "Volunteer form",
    "Bug report", "Onboarding checklist",
)  # fmt: skip
# service: what it says when it fails
SERVICES: Final = (
    ("google_calendar", "Calendar access revoked: reconnect the account"),
    ("google_sheets", "Spreadsheet not found: choose another one"),
    ("hubspot", "Token expired: reconnect HubSpot to resume syncing"),
    ("mailchimp", "Audience was deleted: choose another one"),
    ("salesforce", "API limit of the day reached"),
    ("slack", "Channel was archived: choose another one"),
    ("stripe", "Key was rolled: paste the new one"),
    ("zapier", "Zap was turned off after repeated failures"),
)
