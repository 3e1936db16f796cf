"""Words that the extraction of facts goes by: countries, nationalities, professions, and nouns that say too little."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NATIONS = {
    "American": "the United States", "Argentine": "Argentina", "Australian": "Australia", "Austrian": "Austria",
    "Belgian": "Belgium", "Brazilian": "Brazil", "British": "the United Kingdom", "Bulgarian": "Bulgaria",
    "Canadian": "Canada", "Chilean": "Chile", "Chinese": "China", "Colombian": "Colombia", "Croatian": "Croatia",
    "Cuban": "Cuba", "Czech": "the Czech Republic", "Danish": "Denmark", "Dutch": "the Netherlands",
    "Egyptian": "Egypt", "English": "England", "Ethiopian": "Ethiopia", "Finnish": "Finland", "French": "France",
    "German": "Germany", "Greek": "Greece", "Hungarian": "Hungary", "Icelandic": "Iceland", "Indian": "India",
    "Indonesian": "Indonesia", "Iranian": "Iran", "Irish": "Ireland", "Israeli": "Israel", "Italian": "Italy",
    "Japanese": "Japan", "Kenyan": "Kenya", "Korean": "Korea", "Mexican": "Mexico", "Nigerian": "Nigeria",
    "Norwegian": "Norway", "Pakistani": "Pakistan", "Persian": "Iran", "Peruvian": "Peru", "Polish": "Poland",
    "Portuguese": "Portugal", "Romanian": "Romania", "Roman": "Rome", "Russian": "Russia", "Scottish": "Scotland",
    "Serbian": "Serbia", "Soviet": "the Soviet Union", "Spanish": "Spain", "Swedish": "Sweden", "Swiss": "Switzerland",
    "Turkish": "Turkey", "Ukrainian": "Ukraine", "Vietnamese": "Vietnam", "Welsh": "Wales",
}  # fmt: skip
"""Nationality -> country."""
COUNTRIES = _words("""
    Afghanistan Albania Algeria Angola Argentina Armenia Australia Austria Azerbaijan Bangladesh Belarus Belgium
    Bolivia Botswana Brazil Bulgaria Cambodia Cameroon Canada Chad Chile China Colombia Croatia Cuba Cyprus Denmark
    Ecuador Egypt Eritrea Estonia Ethiopia Fiji Finland France Germany Ghana Greece Guatemala Guinea Guyana Haiti
    Honduras Hungary Iceland India Indonesia Iran Iraq Ireland Israel Italy Jamaica Japan Kazakhstan Kenya Kuwait
    Kyrgyzstan Laos Latvia Lebanon Liberia Libya Lithuania Madagascar Malawi Malaysia Mali Malta Mauritania Mexico
    Moldova Mongolia Montenegro Morocco Mozambique Myanmar Namibia Nepal Nicaragua Niger Nigeria Norway Oman
    Pakistan Paraguay Peru Poland Portugal Qatar Romania Russia Rwanda Senegal Serbia Singapore Slovakia Slovenia
    Somalia Spain Sudan Suriname Sweden Switzerland Syria Taiwan Tajikistan Tanzania Thailand Tunisia Turkey
    Turkmenistan Uganda Ukraine Uruguay Uzbekistan Venezuela Vietnam Yemen Zambia Zimbabwe
""")
PLACES = _words("""
    bay bridge cathedral city commune district island lake metropolis mountain municipality museum palace peninsula
    port prefecture province temple town university village volcano waterfall
""")
PROFESSIONS = {
    "activist": "", "actor": "", "actress": "actor", "anthropologist": "scientist", "architect": "", "artist": "",
    "astronaut": "", "astronomer": "scientist", "author": "writer", "ballerina": "dancer",
    "basketball player": "athlete", "biologist": "scientist", "botanist": "scientist", "boxer": "athlete",
    "cellist": "musician", "chemist": "scientist", "choreographer": "dancer", "comedian": "", "composer": "musician",
    "conductor": "musician", "conqueror": "", "cyclist": "athlete", "dancer": "", "designer": "", "director": "",
    "dramatist": "writer", "economist": "", "emperor": "ruler", "empress": "ruler", "engineer": "",
    "essayist": "writer", "explorer": "", "filmmaker": "director", "footballer": "athlete",
    "geologist": "scientist", "golfer": "athlete", "guitarist": "musician", "historian": "",
    "industrialist": "businessman", "inventor": "", "journalist": "writer", "jurist": "lawyer", "king": "ruler",
    "lawyer": "", "linguist": "scholar", "logician": "philosopher", "mathematician": "",
    "microbiologist": "scientist", "missionary": "", "monarch": "ruler", "musician": "", "mystic": "",
    "naturalist": "scientist", "navigator": "explorer", "novelist": "writer", "nurse": "", "orator": "",
    "painter": "artist", "pharaoh": "ruler", "philanthropist": "", "philosopher": "", "photographer": "",
    "physician": "doctor", "physicist": "scientist", "physiologist": "scientist", "pianist": "musician",
    "playwright": "writer", "poet": "writer", "politician": "", "polymath": "", "preacher": "", "priest": "",
    "producer": "", "prophet": "", "psychiatrist": "", "psychologist": "", "queen": "ruler", "rapper": "musician",
    "revolutionary": "", "satirist": "writer", "saxophonist": "musician", "screenwriter": "writer",
    "sculptor": "artist", "singer": "musician", "sociologist": "", "soldier": "", "songwriter": "musician",
    "sprinter": "athlete", "statesman": "politician", "swimmer": "athlete", "theologian": "",
    "tennis player": "athlete", "trumpeter": "musician", "violinist": "musician", "writer": "",
    "zoologist": "scientist",
}  # fmt: skip
"""Profession -> a wider word that is right too, if any."""
VAGUE = _words("""
    ability act action activity amount analogue and approach area aspect attempt attribute branch capacity capital
    category characteristic class collection commander common component concept condition dark degree division
    element entity example fact feature field figure final flat form fourth function fundamental general group hard
    idea instance kind king large last leader level light location long main major manner marshal material means
    measure measurement member method mode most name number object officer one order part pattern people period
    person phenomenon piece place point portion position practice presence prince princess principle process product
    property quality quantity range rate relation result role ruler scholar science scientist second sense series
    set short side situation small soft sort space species stage standard state strong structure study style subject
    subset substance surface sweet system technique term the theory thick thin thing third type unit use usually
    variety various visual way word work
""")
"""Nouns that are no answer to "What is X?", because they are true of almost everything."""
