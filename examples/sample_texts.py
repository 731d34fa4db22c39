"""The words of the sample documents. All people, places, firms and numbers are invented."""

from __future__ import annotations

FIRM = "Marlow & Finch, Attorneys at Law\n14 Quay Street, Fernhollow, Ashby County\n\n"

NOTES = """Wilson case notes

3/18/2024 Dana called. Rear-ended at Larch Street and Mill Road on 3/14/2024, neck and shoulder.
3/20/2024 Intake done. Signed retainer and HIPAA forms.
4/2/2024  Ordered police report (Fernhollow PD 24-03117).
7/15/2024 Northgate denied the wage part. Letter is in the scans from 7-13, somewhere.
To do: ask the chiropractor for a bill; ask Kovats for the password of locked.pdf.
"""

CONTACTS = """name,role,phone,mail
Dana Wilson,client,555-0101,dana.wilson@mail.example
Ruth Ambrose,adjuster (Northgate Mutual),555-0144,r.ambrose@northgate.example
Oleg Sorokin,witness,555-0162,o.sorokin@post.example
"Imre Kovats, MD",treating physician,555-0117,office@kovats-ortho.example
"Lena Marsh, Esq.",opposing counsel,555-0190,l.marsh@marshlaw.example
"""

READ_FIRST = """IMPORTANT, read me first
The folder "uncategorized" is whatever came in by mail and from the scanner since March.
Please sort it before the mediation. Nothing may get lost. Timeline for the partners by 12/6/2024.
"""

RETAINER = (
    FIRM
    + """RETAINER AGREEMENT

Client: Dana Wilson                          Date: 03/20/2024

The client retains the firm for all claims out of the collision of March 14, 2024.
The fee agreement is one third of what is recovered, after costs.

Signed: Dana Wilson
"""
)

INTAKE = (
    FIRM
    + """NEW CLIENT INTAKE FORM

Name: Dana Wilson                    Date of birth: 06/02/1987
Date: 03/20/2024                     Employer: Fernhollow Bakery Cooperative
What happened: stopped at the light at Larch Street and Mill Road, hit from behind.
Treated by: Fernhollow General, then Dr. Kovats; physical therapy at Millbrook.
"""
)

HIPAA = """AUTHORIZATION TO RELEASE HEALTH INFORMATION (HIPAA)

Client: Dana Wilson                  Date of birth: 06/02/1987
I authorize the release of my records to Marlow & Finch. Dated: 03/20/2024
"""

POLICE = """FERNHOLLOW POLICE DEPARTMENT - CRASH REPORT 24-03117

Date of accident: 03/14/2024   Time: 17:42   Place: Larch Street at Mill Road
Officer: P. Tamm, badge 218    Weather: light rain, dusk

Unit 1: blue sedan, driver Dana Wilson, stopped at a red light.
Unit 2: white van, driver Peter Cole, owner Cole Plumbing. Insurer: Northgate Mutual.
\fNARRATIVE
Unit 2 struck unit 1 from behind. Driver 2 stated that he looked at his delivery list.
Skid marks of 4.1 m behind unit 2. Witness O. Sorokin saw the van approach without braking.
Driver 1 was taken to Fernhollow General by ambulance.
Report date: 03/15/2024
"""

ER_RECORD = """FERNHOLLOW GENERAL HOSPITAL
Emergency Department Record

Patient: Dana Wilson            Date of birth: 06/02/1987
Date of service: 03/14/2024     Arrival 18:20 by ambulance
Chief complaint: neck pain and left shoulder pain after a car crash
\fExamination
Tenderness over C5 to C7. No loss of consciousness. Left shoulder abduction limited by pain.
\fImaging
X-ray of the cervical spine, three views: no fracture.
\fDischarge
Diagnosis: cervical strain; contusion of the left shoulder
Discharged 21:05 with a soft collar. Follow up with an orthopedist within a week.
Attending physician: A. Brandt, MD
"""

ER_BILL = """FERNHOLLOW GENERAL HOSPITAL
Patient billing             Account 77-41208

Patient: Dana Wilson        Statement date: 04/01/2024

Date        Service                                Charge
03/14/2024  Emergency department visit, level 4    $1,860.00
03/14/2024  X-ray cervical spine, 3 views            $412.50
03/14/2024  Soft collar                               $64.00

Total charges: $2,336.50
"""

EMS = """ASHBY COUNTY EMERGENCY MEDICAL SERVICES
Ambulance run sheet 2024-0871

Patient: Dana Wilson        Date of service: 03/14/2024
Dispatch 17:49, on scene 17:58, hospital 18:20
Chief complaint: neck pain, left shoulder pain

03/14/2024  Transport, basic life support   $780.00
03/14/2024  Mileage, 6 miles                 $84.00
Total: $864.00
"""

MRI = """LARCH STREET RADIOLOGY
MRI of the left shoulder without contrast

Patient: Dana Wilson        Exam date: April 9, 2024
Referred by: I. Kovats, MD
Impression: partial-thickness tear of the supraspinatus tendon

Amount billed: $1,450.00
"""

ORTHO_BILL = """KOVATS ORTHOPEDICS
INVOICE 8812

Patient: Dana Wilson
Dates of service: 03/21/2024, 04/11/2024, 06/20/2024

03/21/2024  New patient visit                  $320.00
04/11/2024  Follow-up, review of MRI           $180.00
06/20/2024  Injection, left shoulder           $540.00

Total due: $1,040.00
"""

ORTHO_LOCKED = """KOVATS ORTHOPEDICS
Visit note (confidential)

Patient: Dana Wilson        Date of service: 06/20/2024
Diagnosis: partial tear of the rotator cuff, left
Permanent impairment of the upper extremity: 6 percent
"""

PT_RECORDS = """MILLBROOK PHYSICAL THERAPY
Visit records, March to May 2024

Patient: Dana Wilson
Dates of service: 03/28/2024, 04/04/2024, 04/18/2024, 05/02/2024, 05/16/2024
Treatment: manual therapy, range of motion, strengthening

03/28/2024  Evaluation            $210.00
04/04/2024  Therapy, 45 minutes   $135.00
04/18/2024  Therapy, 45 minutes   $135.00
05/02/2024  Therapy, 45 minutes   $135.00
05/16/2024  Therapy, 45 minutes   $135.00
Total charges: $750.00
"""

CHIROPRACTIC = """FERNHOLLOW CHIROPRACTIC
Treatment record

Patient: Dana Wilson
Date of service: 05/23/2024
Date of service: 05/30/2024
Assessment: improving; neck rotation 80 percent of normal
"""

CERTIFICATE = """FERNHOLLOW GENERAL HOSPITAL
Medical certificate (translation for the insurer abroad)

Patient: Dana Wilson        Date of service: 03/14/2024
Unfit for work from 03/14/2024 to 04/05/2024.
Attending physician: A. Brandt, MD
"""

PHARMACY = """QUAY STREET PHARMACY

Patient: Dana Wilson        Date filled: {date}
Dispensed: {drug}
Prescription by: {doctor}
Total: ${amount}
"""

DENIAL = """NORTHGATE MUTUAL INSURANCE COMPANY
Claim number: NM-4471            Date: 07/13/2024

Dear Counsel,

The adjuster has reviewed the demand for lost wages. Coverage for the bodily injury claim is
confirmed; the wage part is denied for want of an employer's statement.

Ruth Ambrose, claims
"""

OFFER = """NORTHGATE MUTUAL INSURANCE COMPANY
Claim number: NM-4471            Date: 09/05/2024

SETTLEMENT OFFER
In settlement of the bodily injury claim we offer $18,500.00. The offer is open for 30 days.
"""

DECLARATIONS = """BLUEPINE INSURANCE
POLICY DECLARATIONS

Policy number: BP-20-118834      Issued: 11/01/2023
Named insured: Dana Wilson
Uninsured and underinsured motorist coverage: $50,000 each person
Premium: $412.00 for six months
"""

DEMAND = (
    FIRM
    + """DRAFT - demand letter, version 2                    August 12, 2024

To: Northgate Mutual, claim number NM-4471, policy limits demand

Our client was stopped at a red light when your insured struck her from behind.
Medical expenses to date are set out in the attached table. We demand the policy limits.
"""
)

LIEN = """ASHBY HEALTH PLAN - SUBROGATION DEPARTMENT

Date: 05/28/2024                 Member: Dana Wilson

NOTICE OF LIEN
The plan has paid $1,918.40 for treatment of injuries of 03/14/2024 and asserts its right of
recovery against any settlement. This lien must be satisfied before funds are released.
"""

COMPLAINT = """IN THE CIRCUIT COURT OF ASHBY COUNTY
Case No. 24-CV-0932

DANA WILSON, Plaintiff,
v.
PETER COLE and COLE PLUMBING LLC, Defendants.

COMPLAINT FOR DAMAGES
Filed: 10/04/2024

1. On March 14, 2024 defendant Cole drove his van into the plaintiff's stopped car.
2. Defendant had a duty of care and breached it.
\fWHEREFORE the plaintiff demands judgment and trial by jury.
Marlow & Finch, counsel for the plaintiff
"""

ANSWER = """IN THE CIRCUIT COURT OF ASHBY COUNTY
Case No. 24-CV-0932

ANSWER TO COMPLAINT
Filed: 10/28/2024

Defendants deny paragraph 2 and demand strict proof. Lena Marsh, counsel for defendants
"""

DEPOSITION = """IN THE CIRCUIT COURT OF ASHBY COUNTY
Case No. 24-CV-0932

NOTICE OF DEPOSITION
Dated: 11/11/2024

The plaintiff will take the deposition of PETER COLE on December 18, 2024 at 10:00.
"""

INTERROGATORIES = """PLAINTIFF'S FIRST SET OF INTERROGATORIES
Case No. 24-CV-0932

1. State the name and address of each person who was in the van.
2. State every mobile telephone in the van on March 14, 2024, and its use between 17:30 and 17:45.
"""

UNTITLED = "page 2 of 3\n"

FILING_FEE = """CLERK OF THE CIRCUIT COURT, ASHBY COUNTY
RECEIPT 551-20

10/04/2024  Filing fee   $265.00
Paid by: Marlow & Finch
"""

EXPENSES = """date,what,amount
2024-04-02,Crash report copy,12.00
2024-08-19,Postage for demand package,9.85
2024-10-04,Filing fee,265.00
2024-10-09,Process server,75.00
2024-11-20,Court reporter deposit,250.00
"""

HARLAN_SUMMARY = """Case summary: Harlan slip and fall

Joan Harlan, 71, slipped on a wet floor in the Gable Foods store, Fernhollow, on 11/08/2023.
Broken wrist. Store video kept? Letter sent 11/20/2023.
"""

HARLAN_INCIDENT = """GABLE FOODS - INCIDENT REPORT

Date of incident: 11/08/2023     Store 12, aisle 4
Customer Joan Harlan fell. Floor wet from a leaking cooler; no sign. Witness: shelf clerk R. Odum.
"""

HARLAN_URGENT = """QUAY STREET URGENT CARE

Patient: Joan Harlan        Date of service: 11/08/2023
Diagnosis: fracture of the distal radius, right

11/08/2023  Visit and splint   $345.00
11/08/2023  X-ray, wrist       $160.00
Total charges: $505.00
"""

HARLAN_HAND = """ASHBY HAND CLINIC

Patient: Joan Harlan
Dates of service: 11/14/2023, 12/19/2023
Treatment: cast; cast removal and exercises
Amount billed: $690.00
"""

HARLAN_LIEN = """MEDICARE SECONDARY PAYER RECOVERY

Date: 02/06/2024                 Beneficiary: Joan Harlan
Conditional payment notice. Medicare has made conditional payments of $403.12.
"""

HARLAN_CLAIM = """STONEBRIDGE COMMERCIAL INSURANCE
Claim number: SC-88210           Date: 12/01/2023

We acknowledge the claim of Joan Harlan. Your adjuster is T. Reyes. Please send the records.
"""

HARLAN_FEE = """ENGAGEMENT LETTER

Client: Joan Harlan              Date: 11/17/2023
The firm is engaged for the claim against Gable Foods. Signed: Joan Harlan
"""

HARLAN_EXPERT = """TILE AND FLOOR SAFETY CONSULTANTS
INVOICE 104

02/20/2024  Expert fee, site visit and slip test   $900.00
Travel and parking                                  $31.50
Amount due: $931.50
"""

TEST_LETTER = (
    FIRM
    + """November 21, 2023

Dear Ms. Test, this letter only shows what a letter looks like.
"""
)

TEST_VISIT = """FERNHOLLOW GENERAL HOSPITAL

Patient: Terry Test         Date of service: 01/09/2024
Diagnosis: none, a test of the system
Total charges: $100.00
"""
