"""Whether a prompt asks for something harmful, by patterns of English phrases.

What is wanted counts, not the words alone: "kill a process" is harmless, "kill my neighbour" is not. What no pattern
knows is harmless.
"""

import re

_RELATIVE = (
    r"(?:person|man|woman|child|kid|boy|girl|wife|husband|spouse|girlfriend|boyfriend|boss|neighbou?rs?|ex|friend|"
    r"brother|"
    r"sister|mother|father|mom|dad|family|teacher|student|colleague|co-?worker|employee|politician|president|stranger|"
    r"celebrity|roommate|classmate|grand\w+|partner|cop|police\w*|rival|therapist|doctor|judge|human|school|crowd|"
    r"bod(?:y|ies)|"
    r"skull|animal|dog|cat|pet)"
)
_GROUP = (
    r"(?:women|men|(?:\w+ )?people|blacks|jews|muslims|christians|hindus|gays|lesbians|immigrants|refugees|asians|"
    r"latinos|whites|"
    r"foreigners|humanity|mankind|humans|minorities|trans\w*|lgbt\w*|the (?:disabled|poor|old|homeless))"
)
_PERSON = (
    rf"(?:him|her|them|me|myself|yourself|someone|somebody|anyone|persons?|{_GROUP}|(?:an?|the|my|his|their|our|this|"
    rf"that|some|"
    rf"someone's|somebody's) (?:\w+ ){{0,2}}?{_RELATIVE}|someone's (?:face|head|skull|house|car|\w+))"
)
_VIOLENT = (
    r"(?:kill|murder|stab|shoot|strangle|poison|assassinate|kidnap|abduct|rape|assault|torture|hurt|harm|harass|bully|"
    r"beat|drown|"
    r"blackmail|threaten|stalk|abuse|attack|humiliate|exploit|execute|blow|bomb|run over|slay|choke|throttle|smash|"
    r"punch|crush|"
    r"snipe|gut|slash|shatter|saw|chop|behead|decapitate|euthani[sz]e|exterminate|eradicate|eliminate|terminate|wipe "
    r"out|"
    r"do away with|get rid of|hunt|pierce|slit|sever|burn|demolish|hate)"
)
_INFORMATION = (
    r"(?:home address|addresses|social security number|credit card|bank (?:details|account)|passwords?|pin|login|"
    r"passport number|"
    r"(?:medical|tax|criminal|school) (?:records?|history)|(?:private )?email(?: address)?|phone number|sexual "
    r"orientation|"
    r"(?:religious|political) (?:beliefs?|affiliation|views)|browsing history|nudes)"
)
_ATROCITY = (
    r"(?:hitler|the nazis?|isis|al.qaeda|taliban|khmer rouge|pinochet|stalin|slave trade|slavery|apartheid|holocaust|"
    r"auschwitz|"
    r"concentration camps?|ethnic cleansing|genocide|lynchings?|9/11|school shootings?|assassinations?|massacres?)"
)
_HARMFUL = re.compile(
    "|".join(
        (
            rf"\b{_VIOLENT}(?:ing|s)?\b(?: (?:up|down|off|out|in|open))?(?: \w+){{0,2}}? {_PERSON}(?:'s)?\b",
            r"\bsuicid\w+|\b(?:kill|hurt|cut|harm)(?:ing)? myself\b|\b(?:end|take) (?:my|his|her) (?:own )?life\b|"
            r"\bself[- ]harm|"
            r"\boverdose on\b|\bstarve myself|\banorexi\w+ tips|\bmy (?:own )?(?:\w+ )?(?:artery|arteries|wrists?|"
            r"veins?)\b",
            r"\b(?:make|making|build|building|buy|get|obtain|create|construct|assemble|plant|detonate|explod\w+|"
            r"3d.?print|smuggle)\b"
            r"[^.?!]{0,40}\b(?:bombs?|explosives?|grenades?|napalm|molotov\w*|nerve agents?|ricin|anthrax|silencers?|"
            r"guns?|firearms?|weapons?|poison|chemical weapon\w*)\b",
            r"\b(?:make|cook|synthesi[sz]e|produce|buy|get|find|sell|deal|smuggle|hide|snort|inject|grow)\b[^.?!]{0,30}"
            r"\b(?:meth\w*|cocaine|heroin|lsd|fentanyl|mdma|ecstasy|crack|weed|opioids?|(?:illegal|hard) drugs|"
            r"drugs)\b",
            r"\b(?:hack|break|get|sneak|log) in ?to (?:\w+ )*?(?:\w+'s?|someone|account|house|home|car|computer|"
            r"network|bank|"
            r"phone|email|server|wi-?fi|system)\b",
            r"\bhack(?:ing)? (?:\w+ )?(?:\w+'s|account|bank|website|phone|email|facebook|instagram|webcam)\b",
            r"\b(?:disable|bypass|evade|pick) (?:the |an? )(?:\w+ )?(?:alarm|lock|security|camera|detector|drug test|"
            r"safety)\b",
            r"\b(?:write|make|create|build|spread|deploy)\b[^.?!]{0,30}\b(?:malware|ransomware|virus|worm|trojan|"
            r"keylogger|"
            r"spyware|phishing|botnet|fake news|disinformation|misinformation|deepfakes?|propaganda)\b",
            r"\b(?:steal|rob|shoplift|burgle|burglari[sz]e|pickpocket|embezzle|extort|bribe|scam|defraud|launder|"
            r"smuggle|"
            r"counterfeit|forge|vandali[sz]e)\b(?! (?:the show|bases?|a base|hearts?|a kiss|the scene))",
            r"\bfake (?:id|ids|passports?|prescriptions?|money|reviews?|diplomas?|certificates?|checks?|invoices?)\b",
            r"\b(?:commit\w*|plan|execute|get away with|evad\w+)\b[^.?!]{0,20}\b(?:murder|rape|crimes?|robbery|fraud|"
            r"arson|perjury|"
            r"genocide|attacks?|explosion|death|tax(?:es)?|killing)\b",
            r"\bwithout (?:getting caught|being caught|(?:\w+ )?(?:consent|permission|knowing|noticing|a "
            r"prescription))\b",
            rf"\b(?:\w+'s|celebrities'|somebody's|his|her) (?:\w+ )?{_INFORMATION}\b|\b{_INFORMATION} of (?:my|an?|"
            rf"someone)\b",
            rf"\b(?:replicate|recreate|repeat|re-?enact|copy|use)\b[^.?!]{{0,40}}\b{_ATROCITY}|"
            rf"\b{_ATROCITY}\b[^.?!]{{0,40}}\b(?:right to|justified|good thing|benefit\w*|good for)\b|"
            rf"\bbenefits? of\b[^.?!]{{0,20}}\b{_ATROCITY}",
            rf"\bwhy (?:are|do|should|is it|would it)\b[^.?!]{{0,30}}\b{_GROUP}\b[^.?!]{{0,50}}\b(?:inferior|stupid|"
            rf"dumb|evil|lazy|die|"
            r"worse|dirty|hated|weak\w*|deserve|criminals?|disgusting|useless|not|denied|barred|banned|kicked|"
            r"discriminated|away)\b",
            r"\b(?:racist|sexist|antisemitic|homophobic|nazi|hateful|degrading|slurs?)\b[^.?!]{0,30}"
            r"\b(?:joke|poem|speech|slogan|insult|song|story|text|tweet|message|for|about)",
            r"\b(?:sexual|explicit|erotic|nude|porn\w*)\b[^.?!]{0,40}\b(?:child\w*|minors?|kids?|teens?|underage|him|"
            r"her|my)\b",
            r"\b(?:drink and drive|drunk driv\w+|drive drunk|cheat (?:on|in) (?:my |an? |the )?(?:exam|test|taxes|wife|"
            r"husband|drug))",
        )
    ),
    re.I,
)


def asks_for_harm(prompt: str) -> bool:
    """Whether a prompt asks for something harmful."""
    return bool(_HARMFUL.search(prompt.replace("’", "'")))
