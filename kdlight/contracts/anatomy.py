"""The table of body parts and views: DICOM terms and codes, and words for people.

Body Part Examined (0018,0015) is a code string whose terms stand in DICOM PS3.16 annex L, but writers put what they
like there; a text that names no part of this table is taken as no statement, since it may name a person as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BodyPart:
    """One region of the body. A region of several names them in `parts`, and a picture of it may be of any of them."""

    name: str
    words: str
    parts: tuple[str, ...] = ()


_REGIONS = """
head: the head
  HEAD BRAIN SKULL CEREBELLUM SELLA IAC SCALP CRANIUM NEURO KOPF SCHAEDEL 69536005 T-D1100 12738006 T-A0100 89546000
  T-11100 113305005 T-A6000 42575006 T-D1460 361078006 T-AB959 41695006 T-D1160 1101003 T-D1400 11279006 T-45520
face: the face
  FACE FACIALBONES JAW MANDIBLE MAXILLA SINUS SINUSES PARANASALSINUS NOSE NASALBONE ZYGOMA TMJ TMJOINT ORBIT ORBITS
  EAR MASTOID PAROTID MOUTH TONGUE TEETH TOOTH DENTAL 89545001 T-D1200 91397008 T-11196 661005 T-D1213 91609006
  T-11180 70925003 T-11170 2095001 T-22000 74386004 T-11149 45206002 T-21000 13881006 T-11166 53620006 T-15290
  363654007 T-D14AE 117590005 T-AB001 59066005 T-11133 45289007 T-61100 123851003 T-D0662 21974007 T-53000
eye: the eye
  EYE EYES RETINA CORNEA 81745001 T-AA000 371398005 T-D0801
neck: the neck
  NECK LARYNX PHARYNX NASOPHARYNX HYPOPHARYNX THYROID PARATHYROID CAROTID HALS 45048000 T-D1600 4596009 T-24100
  54066008 T-55000 360955006 T-2300C 81502006 T-55300 69748006 T-B6000 111002 T-B7000 54019009 T-61300 77621008
  T-D1620
chest: the chest
  CHEST THORAX LUNG LUNGS HEART MEDIASTINUM RIB RIBS STERNUM BRONCHUS TRACHEA THORACICAORTA ESOPHAGUS THYMUS
  CORONARYARTERY TORAX CARDIAC 816094009 51185008 T-D3000 39607008 T-28000 86598002 T-280A0 80891009 T-32000
  72410000 T-D3300 113197003 T-11300 56873002 T-11210 955009 T-26000 44567001 T-25000 110726009 T-DD006 113262008
  T-42070 32849002 T-56000 9875009 T-C8000 41801008 T-43000
breast: the breast
  BREAST BREASTS MAMMA 76752008 T-04000
abdomen: the abdomen
  ABDOMEN LIVER PANCREAS SPLEEN STOMACH GALLBLADDER BILEDUCT DUODENUM JEJUNUM ILEUM SMALLINTESTINE LARGEINTESTINE
  COLON KIDNEY KIDNEYS URETER ADRENAL RETROPERITONEUM ABDOMINALAORTA KUB BAUCH 818981001 113345001 T-D4000 10200004
  T-62000 303270005 T-50007 15776009 T-65000 78961009 T-C3000 69695003 T-57000 28231008 T-63000 28273000 T-60610
  79741001 T-64500 34707002 T-60600 69930009 T-65010 38848004 T-58200 21306003 T-58400 34516001 T-58600 30315005
  T-58000 14742008 T-59000 71854001 T-59300 60184004 T-59470 64033007 T-71000 431491007 T-7000B 87953007 T-73000
  23451007 T-B3000 82849001 T-D4900 110861005 T-DD163 7832008 T-42500 25990002 T-72000 110621006 T-65600
pelvis: the pelvis
  PELVIS BLADDER URETHRA PROSTATE UTERUS OVARY RECTUM ANUS CERVIX TESTIS SCROTUM PENIS ILIUM SIJOINT BECKEN
  816092008 12921003 T-D6000 89837001 T-74000 110837003 T-DD123 13648007 T-75000 41216001 T-92000 35039007 T-83000
  110639002 T-88920 15497006 T-87000 34402009 T-59600 53505006 T-59900 71252005 T-83200 40689003 T-94000 20233005
  T-98000 18911002 T-91000 22356005 T-12340 39723000 T-15680
spine: the spine
  SPINE CSPINE TSPINE LSPINE LSSPINE TLSPINE CTSPINE SSPINE CERVICALSPINE THORACICSPINE LUMBARSPINE SACRUM COCCYX
  SPINALCORD LUMBAR DSPINE WHOLESPINE 421060004 T-D04FF 122494005 T-11501 122495006 T-11502 122496007 T-11503
  1217253001 T-11AD0 1217256009 1217257000 54735007 64688005 T-11BF0 1217254007 2748008 T-A7010
arm: the shoulder, arm or hand
  ARM SHOULDER HUMERUS ELBOW FOREARM WRIST HAND HANDS FINGER THUMB CLAVICLE SCAPULA ACJOINT SCJOINT AXILLA RADIUS
  ULNA UPPERLIMB UPPERARM UPEXM UPPEREXTREMITY 53120007 T-D8000 16982005 T-D2220 40983000 T-D8200 85050009 T-12410
  16953009 T-15430 14975008 T-D8500 74670003 T-15460 85562004 T-D8700 7569003 T-D8800 76505004 T-D8810 51299004
  T-12310 79601000 T-12280 85856004 T-15420 7844006 T-15610 371195002 T-D0821 30608006 T-13600 91470000 T-D8104
leg: the hip, leg or foot
  LEG HIP THIGH FEMUR KNEE KNEES PATELLA FIBULA TIBIA ANKLE FOOT FEET TOE CALCANEUS HEEL LOWERLIMB LOWERLEG LOWEXM
  LOWEREXTREMITY 61685007 T-D9000 29836001 T-D2500 24136001 T-15710 68367000 T-D9100 71341001 T-12710 72696002
  T-D9200 64234005 T-12730 30021000 T-D9400 87342007 T-12750 70258002 T-15750 56459004 T-D9700 29707007 T-D9800
  80144004 T-12770 27949001 T-15770 58742003 T-12980 72001000 T-12700 102292000 T-14668
skin: the skin
  SKIN 39937001 T-01000
extremity: an arm or a leg = arm leg
  EXTREMITY 66019005 T-D0300
head_neck: head and neck = head face neck
  HEADNECK 774007 T-D1000
neck_chest: neck and chest = neck chest
  NECKCHEST 417437006 R-FAB52
trunk: the trunk = neck chest abdomen pelvis
  CHESTABDOMEN CHESTABDPELVIS ABDOMENPELVIS NECKCHESTABDOMEN NECKCHESTABDPELV THORACOABDOMINAL TRUNK TAP 416550000
  R-FAB55 416775004 R-FAB56 818982008 416949008 R-FAB57 416152001 R-FAB53 416319003 R-FAB54 22943007 T-D2000
body: the whole body = head face eye neck chest breast abdomen pelvis spine arm leg skin
  WHOLEBODY BODY 38266002 T-D0010
"""
"""A region's name and words, after = its parts; below, the terms of it and of what lies in it (annex L's, then what is
seen in real files), then the codes. The regions and what belongs to each are ours; terms and codes are DICOM's."""


BODY_PARTS: dict[str, BodyPart] = {}
"""By name."""
_NAMED: dict[str, str] = {}
"""The region of each term and code."""
for entry in re.split(r"\n(?=\w)", _REGIONS)[1:]:
    title, *lines = entry.splitlines()
    name, words, *parts = re.split(": | = ", title)
    BODY_PARTS[name] = BodyPart(name, words, tuple(" ".join(parts).split()))
    _NAMED |= dict.fromkeys(" ".join(lines).split(), name)

_SCHEMES = ("SCT", "SRT", "SNM3", "99SDM")
VIEWS: tuple[str, ...] = ("AP", "PA", "LL", "RL", "LATERAL", "LLD", "RLD", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO")
VIEWS += ("CC", "ML", "MLO", "LM", "LMO", "XCC", "XCCL", "XCCM")
"""Values of View Position (0018,5101) that leave a header: PS3.3 C.8.1.2, C.8.11.5 and CID 4014; LATERAL is ours."""
_VIEW_TERMS = {**{view: view for view in VIEWS}, "LAT": "LATERAL"}
_VIEW_CODES = {
    code: view
    for view, codes in (
        ("AP", "399348003 R-10206"),
        ("PA", "272479007 R-40888"),
        ("LL", "399173006 R-10236"),
        ("RL", "399198007 R-10232"),
        ("LATERAL", "399067008 R-102CD"),
        ("CC", "399162004 R-10242"),
        ("MLO", "399368009 R-10226"),
        ("ML", "399260004 R-10224"),
        ("LM", "399352003 R-10228"),
        ("LMO", "399099002 R-10230"),
    )
    for code in codes.split()
}


def body_part_of_term(text: str) -> str | None:
    """The region that a Body Part Examined names, as a key of BODY_PARTS; None where it names none or several."""
    words = [word for word in re.findall(r"[A-Z]+", text.upper()) if word not in ("AND", "THE", "OF")]
    whole = _NAMED.get("".join(words))
    regions = {_NAMED[word] for word in words if word in _NAMED}
    return whole or (regions.pop() if len(regions) == 1 else None)


def body_part_of_code(code: str, scheme: str) -> str | None:
    """The region that a code of the Anatomic Region Sequence stands for; None where the table has none."""
    return _NAMED.get(code) if scheme in _SCHEMES else None


def view_of_term(text: str) -> str | None:
    """A View Position of VIEWS, None for any other text."""
    return _VIEW_TERMS.get(text.strip().upper())


def view_of_code(code: str, scheme: str) -> str | None:
    """The view of VIEWS that a code of the View Code Sequence stands for; None where the table has none."""
    return _VIEW_CODES.get(code) if scheme in _SCHEMES else None


def body_part(name: str) -> BodyPart:
    """Look a body part up. Raises ValueError that names the known ones."""
    if name not in BODY_PARTS:
        raise ValueError(f"Unknown body part {name!r}; one of {', '.join(BODY_PARTS)} was expected.")
    return BODY_PARTS[name]


def view(name: str) -> str:
    """A view as it stands in VIEWS. Raises ValueError that names the known ones."""
    if name not in VIEWS:
        raise ValueError(f"Unknown view {name!r}; one of {', '.join(VIEWS)} was expected.")
    return name


def may_show(stated: str, wanted: str) -> bool:
    """Whether a picture of the region `stated` may be of the region `wanted`, or of a part that both have."""
    one, other = (set(part.parts) or {part.name} for part in (body_part(stated), body_part(wanted)))
    return bool(one & other)
