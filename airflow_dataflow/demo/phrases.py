"""What customers of the demo's shop write: intents, and the sentences that messages are put together from.

Words in braces are filled in by :mod:`airflow_dataflow.demo.samples`.
"""

from __future__ import annotations

PRODUCTS = (
    "headphones", "kettle", "desk lamp", "rucksack", "winter jacket", "running shoes", "coffee grinder", "keyboard",
    "monitor", "garden chair", "tent", "phone case", "blender", "office chair", "water bottle", "toaster",
)  # fmt: skip

NAMES = (
    "Ada", "Ben", "Chiara", "Deniz", "Elif", "Femi", "Grace", "Hugo", "Ines", "Jonas", "Kira", "Liam", "Mei", "Noor",
    "Olga", "Pablo", "Rosa", "Sami", "Tara", "Yusuf",
)  # fmt: skip

OPENINGS = (
    "Hello,", "Hi there,", "Good morning,", "Dear support team,", "Hey,", "Good evening,", "To whom it may concern,",
    "Hi, it is me again.", "Hello, this is {name}.", "Dear all,", "",
)  # fmt: skip

CLOSINGS = (
    "Thanks in advance, {name}", "Kind regards, {name}", "Please get back to me soon.", "I look forward to hearing.",
    "This is the second time I write about it.", "Best wishes, {name}", "I hope you can help me.",
    "Thank you and have a nice day.", "Please reply today if you can.", "Cheers, {name}", "",
)  # fmt: skip

DETAILS = (
    "It is about order {order}.", "The order number is {order}.", "I ordered the {product} on {day}.",
    "We bought it for my sister's birthday.", "I have been a customer for {count} years.",
    "I have already waited {count} days.", "My account belongs to {name}.", "I tried it {count} times.",
    "The {product} cost me {price} euro.", "I could not find anything about it on your pages.", "",
)  # fmt: skip

PERSONAL = (
    "You can reach me at {email}.", "Please call me on {phone}.", "I paid with card {card}.",
    "Write to {email} or call {phone}.", "I was connected from {ip}.",
)  # fmt: skip

INTENTS: dict[str, tuple[str, ...]] = {
    "order_status": (
        "Where is my parcel with the {product}?", "The tracking page has not moved since {day}.",
        "Can you tell me when the {product} will arrive?", "My delivery is late and nobody told me why.",
        "I would like to know the status of my shipment.", "The courier says that my parcel is still at the depot.",
    ),
    "return_item": (
        "I want to send the {product} back.", "How do I return the {product} within the return period?",
        "Please send me a return label for the {product}.", "The {product} does not fit, so I would like to return it.",
        "Which address do returns go to?", "Do I have to pay the postage for a return?",
    ),
    "refund_missing": (
        "I returned the {product} and still have no refund.", "Where is my refund of {price} euro?",
        "You promised to pay the money back by {day}.", "The refund has not reached my bank account.",
        "It has been {count} weeks and my money has not been refunded.", "When will the refund be credited?",
    ),
    "change_address": (
        "Please change the delivery address to {street}.", "I have moved and need a new shipping address.",
        "The address in my order is wrong, it should be {street}.", "Can the parcel go to {street} instead?",
        "How do I update the address in my profile?", "I made a typing error in the street of my address.",
    ),
    "cancel_order": (
        "Please cancel my order of the {product}.", "I ordered the {product} twice, cancel one of them.",
        "I changed my mind, can the order still be cancelled?", "Cancel the order before it is shipped, please.",
        "I do not need the {product} any more, please stop the order.", "There is no cancel button beside my order.",
    ),
    "payment_failed": (
        "My card was declined at checkout.", "The payment page shows an error when I pay.",
        "I was charged {price} euro but the checkout says that the payment failed.",
        "The bank transfer is not accepted by your checkout.", "Paying with the wallet fails every time.",
        "Payment is refused although there is enough money on my card.",
    ),
    "invoice_copy": (
        "I need an invoice for the {product}.", "Please send me a copy of the invoice for my tax office.",
        "The invoice shows the wrong company name.", "Can you put our VAT number on the invoice?",
        "I cannot download the receipt of {day}.", "Our accounting department asks for the original invoice.",
    ),
    "login_problem": (
        "I cannot log in to my account.", "The password reset mail never arrives.",
        "My account is locked after too many attempts.", "The two factor code is always rejected at sign in.",
        "I forgot my password and the reset link has expired.", "The login page says that my user name is unknown.",
    ),
    "app_crash": (
        "The app crashes when I open the basket.", "Since the update the app closes by itself.",
        "Your app freezes on the start screen of my phone.", "The app shows a blank page after scanning a code.",
        "The new version of the app does not start on my tablet.", "The app stops with an error on every search.",
    ),
    "damaged_delivery": (
        "The {product} arrived broken.", "The box was crushed and the {product} has scratches.",
        "There is a crack in the {product} that you delivered.", "The parcel was wet and the {product} is damaged.",
        "A part of the {product} was smashed on the way.", "I can send photos of the damage to the {product}.",
    ),
    "wrong_item": (
        "I ordered the {product} and received something else.", "The parcel contains the wrong colour.",
        "You sent me a different size than I ordered.", "Someone else's {product} was in my parcel.",
        "I got two instead of one {product}.", "The article in the box is not the one that I ordered.",
    ),
    "discount_code": (
        "The discount code is not accepted in the basket.", "My voucher of {price} euro has disappeared.",
        "I forgot to enter the coupon, can you add it later?", "The promotion says ten percent, yet nothing is off.",
        "When does the discount code expire?", "The voucher from your newsletter does not work.",
    ),
    "cancel_subscription": (
        "I want to end my subscription.", "Please stop the monthly plan at the end of {day}.",
        "How do I unsubscribe from the premium plan?", "The subscription was renewed although I ended it.",
        "Please do not renew my membership.", "I was charged {price} euro for a plan that I cancelled.",
    ),
    "product_question": (
        "Does the {product} come with a warranty?", "Is the {product} available in blue?",
        "What does the {product} weigh?", "Which batteries does the {product} need?",
        "Can the {product} be used outdoors?", "Is the {product} dishwasher safe?",
    ),
}  # fmt: skip

AMBIGUOUS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("I want my money back for the {product}.", ("refund_missing", "return_item", "damaged_delivery")),
    ("It does not work and I am not happy about it.", ("app_crash", "login_problem", "payment_failed")),
    ("Please cancel everything as soon as possible.", ("cancel_order", "cancel_subscription")),
    ("Something went wrong with the delivery of the {product}.", ("order_status", "damaged_delivery", "wrong_item")),
    ("The amount that you took from my account is wrong.", ("payment_failed", "invoice_copy", "discount_code")),
)
"""Sentences that several intents share, each with those intents."""

JUNK = (
    "ok",
    "??",
    "thanks!",
    "+1",
    "asdf asdf asdf asdf asdf asdf asdf",
    "### ... ### ... ### ...",
    "1234 5678 90",
    "test",
)
"""Messages that no model should learn from."""
